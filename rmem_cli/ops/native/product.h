// Products of a few rows with a matrix that stays the same over many steps.
//
// Libraries are tuned for large products; here a step multiplies some ten rows, and does so thousands of times.
// The matrix is laid out once as panels of as many columns as fit the registers, and each thread multiplies its
// own rows of the batch: no thread waits for another within a sequence.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "buffers.h"

namespace rmem {

template <typename T>
using Vector = at::vec::Vectorized<T>;

// Rows and vectors of a block of the result that is held in registers: 24 sums of 32 registers, or 12 of 16.
constexpr int panel_vectors = 2;
#if defined(CPU_CAPABILITY_AVX512)
constexpr int block_rows = 12;
#else
constexpr int block_rows = 6;
#endif
// Rows of a panel that the fastest cache holds, while one block after another is multiplied by them.
constexpr int64_t depth_step = 256;

// A matrix [depth, columns], laid out for products from the left.
template <typename T>
class PackedMatrix {
 public:
  static constexpr int64_t panel_columns = panel_vectors * Vector<T>::size();

  PackedMatrix(const T* matrix, int64_t depth, int64_t columns, int64_t row_stride, int64_t column_stride)
      : depth_(depth),
        columns_(columns),
        packed_(uninitialised({(columns + panel_columns - 1) / panel_columns * panel_columns * depth},
                              c10::CppTypeToScalarType<T>::value)) {
    T* place = packed_.template mutable_data_ptr<T>();
    for (int64_t first = 0; first < columns; first += panel_columns) {
      const int64_t width = std::min(panel_columns, columns - first);
      for (int64_t row = 0; row < depth; ++row, place += panel_columns) {
        const T* from = matrix + row * row_stride + first * column_stride;
        for (int64_t column = 0; column < width; ++column) place[column] = from[column * column_stride];
        std::fill(place + width, place + panel_columns, T(0));
      }
    }
  }

  // result [rows, columns] += left [rows, depth] @ matrix
  void accumulate(const T* left, int64_t left_stride, int64_t rows, T* result, int64_t result_stride) const {
    accumulate(left, left_stride, rows, result, result_stride, 0, columns_);
  }

  // The same for the columns from `begin`, where a panel begins, to `end`, where one or the matrix does.
  void accumulate(const T* left, int64_t left_stride, int64_t rows, T* result, int64_t result_stride, int64_t begin,
                  int64_t end) const {
    const int64_t blocks = (rows + block_rows - 1) / block_rows;
    const T* packed = packed_.template const_data_ptr<T>();
    for (int64_t first = begin; first < end; first += panel_columns) {
      const int64_t width = std::min(panel_columns, columns_ - first);
      for (int64_t inner = 0; inner < depth_; inner += depth_step) {
        const T* panel = packed + first * depth_ + inner * panel_columns;
        const int64_t depth = std::min(depth_step, depth_ - inner);
        for (int64_t block = 0, row = 0; block < blocks; ++block) {
          const int64_t height = (rows - row) / (blocks - block);
          by_height[height - 1](left + row * left_stride + inner, left_stride, panel, depth,
                                result + row * result_stride + first, result_stride, width);
          row += height;
        }
      }
    }
  }

 private:
  using AddRows = void (*)(const T*, int64_t, const T*, int64_t, T*, int64_t, int64_t);

  // Adds the product of `height` rows with `depth` rows of a panel.
  template <int height>
  static void add_rows(const T* left, int64_t left_stride, const T* panel, int64_t depth, T* result,
                       int64_t result_stride, int64_t width) {
    constexpr int lanes = Vector<T>::size();
    Vector<T> sums[height][panel_vectors];
#pragma GCC unroll 12
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int vector = 0; vector < panel_vectors; ++vector) sums[row][vector] = Vector<T>(0);
    for (int64_t inner = 0; inner < depth; ++inner, panel += panel_columns) {
      for (int vector = 0; vector < panel_vectors; ++vector)
        __builtin_prefetch(panel + depth_step * panel_columns + vector * lanes, 0, 2);
      Vector<T> right[panel_vectors];
#pragma GCC unroll 2
      for (int vector = 0; vector < panel_vectors; ++vector)
        right[vector] = Vector<T>::loadu(panel + vector * lanes);
#pragma GCC unroll 12
      for (int row = 0; row < height; ++row) {
        const Vector<T> factor(left[row * left_stride + inner]);
#pragma GCC unroll 2
        for (int vector = 0; vector < panel_vectors; ++vector)
          sums[row][vector] = at::vec::fmadd(factor, right[vector], sums[row][vector]);
      }
    }
#pragma GCC unroll 12
    for (int row = 0; row < height; ++row)
#pragma GCC unroll 2
      for (int vector = 0; vector < panel_vectors; ++vector)
        add_to(result + row * result_stride + vector * lanes, sums[row][vector], width - vector * lanes);
  }

  template <int... heights>
  static constexpr std::array<AddRows, block_rows> one_for_each(std::integer_sequence<int, heights...>) {
    return {&add_rows<heights + 1>...};
  }

  static constexpr std::array<AddRows, block_rows> by_height =
      one_for_each(std::make_integer_sequence<int, block_rows>{});

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
  // At the beginning of a line of the cache: vectors that lie across two take twice as long to load.
  at::Tensor packed_;
};

}  // namespace rmem
