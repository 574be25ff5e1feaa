// Products of large matrices, shared out among threads.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "common/cores.h"
#include "common/denormals.h"
#include "product/product.h"

namespace rmem {

// Whether the right factor is stored as it is, or transposed.
enum class Right { plain, transposed };

// What a product begins with: what the result holds, or a bias for each column, or nothing.
template <typename T>
struct Start {
  bool result = false;
  const T* bias = nullptr;
};

// Rows `first` to `first + count` of some columns of the right factor, side by side: in a wide matrix they would take
// each other's places in a core's cache.
template <typename T, Right order>
void copy_panel(Matrix<const T> right, int64_t first, int64_t count, int64_t column, int64_t width, Matrix<T> panel) {
  if constexpr (order == Right::plain) {
    for (int64_t inner = 0; inner < count; ++inner)
      std::copy_n(right.row(first + inner) + column, width, panel.row(inner));
  } else {
    for (int64_t each = 0; each < width; ++each)
      for (int64_t inner = 0; inner < count; ++inner) panel.row(inner)[each] = right.row(column + each)[first + inner];
  }
}

// result [rows, columns] = left [rows, depth] @ right [depth, columns]
//
// Threads share the panels of the result, and its rows where there are few panels. Each number is summed in the same
// order, however many threads there are.
template <typename T, Left side, Right order>
void multiply_large(Matrix<const T> left, Matrix<const T> right, int64_t rows, int64_t columns, int64_t depth,
                    Matrix<T> result, Start<T> start) {
  if (rows == 0 || columns == 0) return;
  const int64_t panels = (columns + panel_columns<T> - 1) / panel_columns<T>;
  const int64_t parts = std::max<int64_t>(
      1, std::min((2 * at::get_num_threads() + panels - 1) / panels, (rows + block_rows - 1) / block_rows));
  parallel_for(0, panels * parts, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    alignas(line_bytes) T copied[depth_step * panel_columns<T>] = {};
    const Matrix<T> panel{copied, panel_columns<T>};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t column = task / parts * panel_columns<T>, part = task % parts;
      const int64_t row = rows * part / parts, count = rows * (part + 1) / parts - row;
      const int64_t width = std::min(panel_columns<T>, columns - column);
      const Matrix<T> here = result.from_row(row).from_column(column);
      for (int64_t each = 0; start.bias && each < count; ++each) std::copy_n(start.bias + column, width, here.row(each));
      for (int64_t each = 0; depth == 0 && !start.result && !start.bias && each < count; ++each)
        std::fill_n(here.row(each), width, T(0));
      for (int64_t first = 0; first < depth; first += depth_step) {
        const int64_t inner = std::min(depth_step, depth - first);
        copy_panel<T, order>(right, first, inner, column, width, panel);
        PanelProduct<T, side>::run(side == Left::plain ? left.from_row(row).from_column(first)
                                                       : left.from_row(first).from_column(row),
                                   panel, count, inner, here, width, first > 0 || start.result || start.bias);
      }
    }
  });
}

// sums [rows, columns] += transpose(left) @ right, of tall matrices: the gradient of weights.
template <typename T>
void add_product(Matrix<const T> left, int64_t rows, Matrix<const T> right, int64_t columns, int64_t depth,
                 Matrix<T> sums) {
  multiply_large<T, Left::transposed, Right::plain>(left, right, rows, columns, depth, sums, {true, nullptr});
}

}  // namespace rmem
