// Products of small matrices, which stay in the caches of one core.
//
// Libraries are tuned for large products; here a step multiplies some ten rows, and does so thousands of times.
// As many columns of the right factor as fit the registers are a panel.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <utility>

#include "common/buffers.h"
#include "common/caches.h"

namespace rmem {

template <typename T>
using Vector = at::vec::Vectorized<T>;

// Rows and vectors of a block of the result that is held in registers: 24 sums of 32 registers, or 12 of 16. The wider
// a block, the fewer loads for each of its products; loads are what a core runs out of first.
constexpr int block_rows = 6;
#if defined(CPU_CAPABILITY_AVX512)
constexpr int panel_vectors = 4;
#else
constexpr int panel_vectors = 2;
#endif
// Rows of a panel that the fastest cache holds, while one block after another is multiplied by them.
constexpr int64_t depth_step = 128;
template <typename T>
constexpr int64_t panel_columns = panel_vectors * Vector<T>::size();

// A matrix whose rows begin `stride` numbers apart.
template <typename T>
struct Matrix {
  T* place;
  int64_t stride;

  T* row(int64_t index) const { return place + index * stride; }
  Matrix from_row(int64_t index) const { return {row(index), stride}; }
  Matrix from_column(int64_t index) const { return {place + index, stride}; }
  operator Matrix<const T>() const { return {place, stride}; }
};

// Whether the left factor is stored as it is, or transposed.
enum class Left { plain, transposed };

// Stores or adds the first `count` numbers of a vector, all or none of them if there are more or less.
template <typename T>
inline void put(const Vector<T>& sums, T* place, int64_t count, bool add) {
  if (count >= Vector<T>::size()) {
    (add ? Vector<T>::loadu(place) + sums : sums).store(place);
  } else if (count > 0) {
    (add ? Vector<T>::loadu(place, count) + sums : sums).store(place, count);
  }
}

// The product of `height` rows with `depth` rows of a panel, of which `width` columns count, stored or added. Beside
// each row of the panel, so many lines of the cache are fetched `ahead`.
template <typename T, int height, Left side, int lines>
inline void multiply_block(Matrix<const T> left, Matrix<const T> panel, int64_t depth, Matrix<T> result,
                           int64_t width, bool add, const T* ahead) {
  constexpr int lanes = Vector<T>::size();
  Vector<T> sums[height][panel_vectors];
#pragma GCC unroll 6
  for (int row = 0; row < height; ++row)
#pragma GCC unroll 4
    for (int vector = 0; vector < panel_vectors; ++vector) sums[row][vector] = Vector<T>(0);
  for (int64_t inner = 0; inner < depth; ++inner, panel.place += panel.stride) {
#pragma GCC unroll 4
    for (int line = 0; line < lines; ++line, ahead += line_bytes / sizeof(T)) __builtin_prefetch(ahead, 0, 2);
    Vector<T> right[panel_vectors];
#pragma GCC unroll 4
    for (int vector = 0; vector < panel_vectors; ++vector) right[vector] = Vector<T>::loadu(panel.place + vector * lanes);
#pragma GCC unroll 6
    for (int row = 0; row < height; ++row) {
      const Vector<T> factor(side == Left::plain ? left.row(row)[inner] : left.row(inner)[row]);
#pragma GCC unroll 4
      for (int vector = 0; vector < panel_vectors; ++vector)
        sums[row][vector] = at::vec::fmadd(factor, right[vector], sums[row][vector]);
    }
  }
#pragma GCC unroll 6
  for (int row = 0; row < height; ++row)
#pragma GCC unroll 4
    for (int vector = 0; vector < panel_vectors; ++vector)
      put(sums[row][vector], result.row(row) + vector * lanes, width - vector * lanes, add);
}

// The same for any number of rows, as few blocks of nearly as many each. `fetches`: the panel is packed, and what lies
// behind these rows, and is multiplied by next, may be in no near cache.
template <typename T, Left side, bool fetches = false>
class PanelProduct {
 public:
  // `far`: it is in none. Each block fetches its share of it: all at once would be asked for faster than it can come.
  static void run(Matrix<const T> left, Matrix<const T> panel, int64_t rows, int64_t depth, Matrix<T> result,
                  int64_t width, bool add, bool far = false) {
    const int64_t blocks = (rows + block_rows - 1) / block_rows;
    const int64_t share = fetches && far ? (row_lines + blocks - 1) / blocks : 0;
    for (int64_t block = 0, row = 0; block < blocks; ++block) {
      const int64_t height = (rows - row) / (blocks - block);
      const Block multiply = block * share < row_lines ? fetching[share][height - 1] : fetching[0][height - 1];
      multiply(side == Left::plain ? left.from_row(row) : left.from_column(row), panel, depth, result.from_row(row),
               width, add, panel.row(depth) + block * share * depth * (line_bytes / sizeof(T)));
      row += height;
    }
  }

 private:
  // Lines of the cache that a row of a packed panel takes.
  static constexpr int row_lines = (panel_columns<T> * sizeof(T) + line_bytes - 1) / line_bytes;
  static constexpr int most_lines = fetches ? row_lines : 0;

  using Block = void (*)(Matrix<const T>, Matrix<const T>, int64_t, Matrix<T>, int64_t, bool, const T*);
  using Heights = std::array<Block, block_rows>;

  template <int lines, int... heights>
  static constexpr Heights of_heights(std::integer_sequence<int, heights...>) {
    return {&multiply_block<T, heights + 1, side, lines>...};
  }

  template <int... lines>
  static constexpr std::array<Heights, most_lines + 1> of_lines(std::integer_sequence<int, lines...>) {
    return {of_heights<lines>(std::make_integer_sequence<int, block_rows>{})...};
  }

  // By the lines that are fetched beside a row, and by the height of a block less one.
  static constexpr auto fetching = of_lines(std::make_integer_sequence<int, most_lines + 1>{});
};

// result [rows, columns] = left [rows, depth] @ right [depth, columns], or added to it. Behind the last row of
// `right`, as many numbers as a panel has columns must be there to be read.
template <typename T, Left side = Left::plain>
void multiply(Matrix<const T> left, Matrix<const T> right, int64_t rows, int64_t columns, int64_t depth,
              Matrix<T> result, bool add = false) {
  for (int64_t first = 0; first < columns; first += panel_columns<T>)
    for (int64_t inner = 0; inner < depth; inner += depth_step)
      PanelProduct<T, side>::run(side == Left::plain ? left.from_column(inner) : left.from_row(inner),
                                 right.from_row(inner).from_column(first), rows, std::min(depth_step, depth - inner),
                                 result.from_column(first), std::min(panel_columns<T>, columns - first),
                                 add || inner > 0);
}

// A matrix [depth, columns] that stays the same over many steps, laid out for products from the left: panel after
// panel.
template <typename T>
class PackedMatrix {
 public:
  // `bytes`: of all that a step multiplies by.
  PackedMatrix(const T* matrix, int64_t depth, int64_t columns, int64_t row_stride, int64_t column_stride,
               int64_t bytes)
      : PackedMatrix(matrix, depth, columns, row_stride, column_stride, bytes, room_for(depth, columns)) {}

  // In `room` of its own, or in a part of that of several matrices.
  PackedMatrix(const T* matrix, int64_t depth, int64_t columns, int64_t row_stride, int64_t column_stride,
               int64_t bytes, at::Tensor room)
      : depth_(depth), columns_(columns), far_(bytes > near_weight_bytes), packed_(std::move(room)) {
    T* place = packed_.template mutable_data_ptr<T>();
    for (int64_t first = 0; first < columns; first += panel_columns<T>) {
      const int64_t width = std::min(panel_columns<T>, columns - first);
      for (int64_t row = 0; row < depth; ++row, place += panel_columns<T>) {
        const T* from = matrix + row * row_stride + first * column_stride;
        for (int64_t column = 0; column < width; ++column) place[column] = from[column * column_stride];
        std::fill(place + width, place + panel_columns<T>, T(0));
      }
    }
  }

  // Of as many matrices: [matrices, numbers].
  static at::Tensor room_for(int64_t depth, int64_t columns, int64_t matrices = 1) {
    const int64_t panels = (columns + panel_columns<T> - 1) / panel_columns<T>;
    return uninitialised({matrices, panels * panel_columns<T> * depth}, c10::CppTypeToScalarType<T>::value);
  }

  // result [rows, columns] += left [rows, depth] @ matrix
  void accumulate(const T* left, int64_t left_stride, int64_t rows, T* result, int64_t result_stride) const {
    accumulate(left, left_stride, rows, result, result_stride, 0, columns_);
  }

  // The same for the columns from `begin`, where a panel begins, to `end`, where one or the matrix does.
  void accumulate(const T* left, int64_t left_stride, int64_t rows, T* result, int64_t result_stride, int64_t begin,
                  int64_t end) const {
    const T* packed = packed_.template const_data_ptr<T>();
    for (int64_t first = begin; first < end; first += panel_columns<T>)
      for (int64_t inner = 0; inner < depth_; inner += depth_step)
        PanelProduct<T, Left::plain, true>::run(
            {left + inner, left_stride}, {packed + first * depth_ + inner * panel_columns<T>, panel_columns<T>}, rows,
            std::min(depth_step, depth_ - inner), {result + first, result_stride},
            std::min(panel_columns<T>, columns_ - first), true, far_);
  }

 private:
  int64_t depth_, columns_;
  bool far_;
  // At the beginning of a line of the cache: vectors that lie across two take twice as long to load.
  at::Tensor packed_;
};

}  // namespace rmem
