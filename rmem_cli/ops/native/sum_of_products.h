// The gradient of weights: one product of two tall matrices, over all rows of a chunk of steps.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <cstdint>

#include "denormals.h"
#include "product.h"

namespace rmem {

// sums [left columns, right columns] += transpose(left) @ right, both `depth` rows deep.
//
// Threads share the panels of the result, and its rows where there are few panels. Some rows of a panel of `right` are
// copied to lie side by side: in a wide matrix they would take each other's places in a core's cache.
template <typename T>
void add_product(Matrix<const T> left, int64_t left_columns, Matrix<const T> right, int64_t right_columns,
                 int64_t depth, Matrix<T> sums) {
  const int64_t panels = (right_columns + panel_columns<T> - 1) / panel_columns<T>;
  const int64_t parts = std::clamp<int64_t>((2 * at::get_num_threads() + panels - 1) / panels, 1,
                                            (left_columns + block_rows - 1) / block_rows);
  at::parallel_for(0, panels * parts, 1, [&](int64_t begin, int64_t end) {
    const FlushDenormals flush;
    alignas(line_bytes) T copied[depth_step * panel_columns<T>] = {};
    const Matrix<T> panel{copied, panel_columns<T>};
    for (int64_t task = begin; task < end; ++task) {
      const int64_t column = task / parts * panel_columns<T>, part = task % parts;
      const int64_t row = left_columns * part / parts, rows = left_columns * (part + 1) / parts - row;
      const int64_t width = std::min(panel_columns<T>, right_columns - column);
      for (int64_t first = 0; first < depth; first += depth_step) {
        const int64_t count = std::min(depth_step, depth - first);
        for (int64_t inner = 0; inner < count; ++inner)
          std::copy_n(right.row(first + inner) + column, width, panel.row(inner));
        PanelProduct<T, Left::transposed>::run(left.from_row(first).from_column(row), panel, rows, count,
                                               sums.from_row(row).from_column(column), width, true);
      }
    }
  });
}

}  // namespace rmem
