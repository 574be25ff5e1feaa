// Products of a few rows with a matrix that stays the same over many steps.
//
// Libraries are tuned for large products; here a step multiplies some ten rows, and does so thousands of times.
// The matrix is laid out once as panels of as many columns as fit the registers, and each thread multiplies its
// own rows of the batch: no thread waits for another within a sequence.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <cstdint>
#include <vector>

namespace rmem {

template <typename T>
using Vector = at::vec::Vectorized<T>;

// Rows and vectors of a block of the result that is held in registers: 24 sums of 32 registers, or 12 of 16.
constexpr int block_rows = 6;
#if defined(CPU_CAPABILITY_AVX512)
constexpr int panel_vectors = 4;
#else
constexpr int panel_vectors = 2;
#endif

// A matrix [depth, columns], laid out for products from the left.
template <typename T>
class PackedMatrix {
 public:
  static constexpr int64_t panel_columns = panel_vectors * Vector<T>::size();

  PackedMatrix(const T* matrix, int64_t depth, int64_t columns, int64_t row_stride, int64_t column_stride)
      : depth_(depth),
        columns_(columns),
        packed_((columns + panel_columns - 1) / panel_columns * panel_columns * depth) {
    T* place = packed_.data();
    for (int64_t first = 0; first < columns; first += panel_columns) {
      const int64_t width = std::min(panel_columns, columns - first);
      for (int64_t row = 0; row < depth; ++row, place += panel_columns) {
        const T* from = matrix + row * row_stride + first * column_stride;
        for (int64_t column = 0; column < width; ++column) place[column] = from[column * column_stride];
      }
    }
  }

  // result [rows, columns] += left [rows, depth] @ matrix
  void accumulate(const T* left, int64_t left_stride, int64_t rows, T* result, int64_t result_stride) const {
    const int64_t blocks = (rows + block_rows - 1) / block_rows;
    for (int64_t first = 0; first < columns_; first += panel_columns) {
      const T* panel = packed_.data() + first * depth_;
      const int64_t width = std::min(panel_columns, columns_ - first);
      for (int64_t block = 0, row = 0; block < blocks; ++block) {
        const int64_t height = (rows - row) / (blocks - block);
        add_block(height, left + row * left_stride, left_stride, panel, result + row * result_stride + first,
                  result_stride, width);
        row += height;
      }
    }
  }

 private:
  void add_block(int64_t height, const T* left, int64_t left_stride, const T* panel, T* result,
                 int64_t result_stride, int64_t width) const {
    switch (height) {
      case 1: return add_rows<1>(left, left_stride, panel, result, result_stride, width);
      case 2: return add_rows<2>(left, left_stride, panel, result, result_stride, width);
      case 3: return add_rows<3>(left, left_stride, panel, result, result_stride, width);
      case 4: return add_rows<4>(left, left_stride, panel, result, result_stride, width);
      case 5: return add_rows<5>(left, left_stride, panel, result, result_stride, width);
      default: return add_rows<block_rows>(left, left_stride, panel, result, result_stride, width);
    }
  }

  template <int height>
  void add_rows(const T* left, int64_t left_stride, const T* panel, T* result, int64_t result_stride,
                int64_t width) const {
    constexpr int lanes = Vector<T>::size();
    Vector<T> sums[height][panel_vectors];
    for (int row = 0; row < height; ++row)
      for (int vector = 0; vector < panel_vectors; ++vector) sums[row][vector] = Vector<T>(0);
    for (int64_t inner = 0; inner < depth_; ++inner, panel += panel_columns) {
      Vector<T> right[panel_vectors];
#pragma GCC unroll 4
      for (int vector = 0; vector < panel_vectors; ++vector)
        right[vector] = Vector<T>::loadu(panel + vector * lanes);
#pragma GCC unroll 6
      for (int row = 0; row < height; ++row) {
        const Vector<T> factor(left[row * left_stride + inner]);
#pragma GCC unroll 4
        for (int vector = 0; vector < panel_vectors; ++vector)
          sums[row][vector] = at::vec::fmadd(factor, right[vector], sums[row][vector]);
      }
    }
    for (int row = 0; row < height; ++row)
      for (int vector = 0; vector < panel_vectors; ++vector)
        add_to(result + row * result_stride + vector * lanes, sums[row][vector], width - vector * lanes);
  }

  static void add_to(T* place, const Vector<T>& sum, int64_t count) {
    constexpr int lanes = Vector<T>::size();
    if (count >= lanes) {
      (Vector<T>::loadu(place) + sum).store(place);
    } else if (count > 0) {
      (Vector<T>::loadu(place, count) + sum).store(place, count);
    }
  }

  int64_t depth_;
  int64_t columns_;
  std::vector<T> packed_;
};

}  // namespace rmem
