// The associative memory of lambda 1: a matrix for each row of the batch, turned by one rotation after another.
//
// ops/rotation/README.md derives the formulas. Matrices are padded with zeros to whole vectors; they lie in panels of
// columns or, padded to them, in blocks of rows, which are small enough to stay near the processor while several passes
// go over them.
#pragma once

#include "rotation/plane.h"

#include <type_traits>

namespace rmem {

constexpr int memory_block = 4;

// Rows that a padded matrix of `size` has.
constexpr int64_t padded_rows(int64_t size) { return (size + memory_block - 1) / memory_block * memory_block; }

// dots[4 i + row] = rows[row] . vectors[i]
template <int count, typename T>
void block_dots(const T* rows, int64_t width, const T* const (&vectors)[count], T* dots) {
  using V = Vector<T>;
  V sums[count * memory_block];
  for (V& sum : sums) sum = V(0);
  for (int64_t first = 0; first < width; first += V::size()) {
    V parts[count];
    for (int index = 0; index < count; ++index) parts[index] = V::loadu(vectors[index] + first);
    for (int row = 0; row < memory_block; ++row) {
      const V entry = V::loadu(rows + row * width + first);
      for (int index = 0; index < count; ++index) {
        V& sum = sums[index * memory_block + row];
        sum = at::vec::fmadd(entry, parts[index], sum);
      }
    }
  }
  totals_of<count * memory_block>(sums, dots);
}

// result = transpose(matrix) @ vector
template <typename T>
void multiply_transposed(const T* matrix, int64_t size, int64_t width, const T* vector, T* result) {
  using V = Vector<T>;
  std::fill(result, result + width, T(0));
  for (int64_t row = 0; row < size; ++row) {
    const V factor(vector[row]);
    const T* entries = matrix + row * width;
    for (int64_t first = 0; first < width; first += V::size())
      at::vec::fmadd(factor, V::loadu(entries + first), V::loadu(result + first)).store(result + first);
  }
}

// A memory by its columns: no sum goes across a vector. Panels of a few vectors of all columns lie one behind the
// other, so that two passes over one find it near the processor.
template <typename T>
struct MemoryPanels {
  static constexpr int vectors = 4;
  static constexpr int64_t rows = vectors * Vector<T>::size();

  T* numbers;  // `size` columns of `width` rows
  int64_t size, width;

  T* panel(int64_t first_row) const { return numbers + first_row * size; }
  int64_t rows_of_panel(int64_t first_row) const { return std::min(rows, width - first_row); }

  // Sets all numbers from a matrix with these strides, and those of rows that it does not have to zero.
  void read(const T* matrix, int64_t row_stride, int64_t column_stride) const {
    each_block([&](T* place, int64_t row, int64_t apart, int64_t column, int64_t columns) {
      for (int64_t index = 0; index < columns; ++index)
        place[index * apart] = row < size ? matrix[row * row_stride + (column + index) * column_stride] : T(0);
    });
  }

  void write(T* matrix) const {
    each_block([&](const T* place, int64_t row, int64_t apart, int64_t column, int64_t columns) {
      if (row >= size) return;
      for (int64_t index = 0; index < columns; ++index) matrix[row * size + column + index] = place[index * apart];
    });
  }

 private:
  // Calls body(place, row, apart, column, columns) for some columns of a row, whose numbers lie so far apart: as many as
  // a cache line of the matrix has, so that the lines of all columns are still near for the next row.
  template <typename Body>
  void each_block(Body&& body) const {
    constexpr int64_t most = 64 / sizeof(T);
    for (int64_t first = 0; first < width; first += rows) {
      const int64_t apart = rows_of_panel(first);
      for (int64_t column = 0; column < size; column += most)
        for (int64_t row = first; row < first + apart; ++row)
          body(panel(first) + column * apart + row - first, row, apart, column, std::min(most, size - column));
    }
  }
};

// Of the first `ways` vectors of a panel: memory <- memory (I + u p' + w q'); rotated = memory hidden, with the new one.
template <int ways, typename T>
void advance_panel(const Plane<T>& plane, T hidden_u, T hidden_w, T* panel, int64_t size, const T* hidden, T* rotated) {
  using V = Vector<T>;
  constexpr int64_t width = ways * V::size();
  V to_hidden[ways], along_u[ways], along_w[ways];
  for (int way = 0; way < ways; ++way) to_hidden[way] = along_u[way] = along_w[way] = V(0);
  for (int64_t unit = 0; unit < size; ++unit) {
    const V h(hidden[unit]), u(plane.u[unit]), w(plane.w[unit]);
    for (int way = 0; way < ways; ++way) {
      const V entry = V::loadu(panel + unit * width + way * V::size());
      to_hidden[way] = at::vec::fmadd(entry, h, to_hidden[way]);
      along_u[way] = at::vec::fmadd(entry, u, along_u[way]);
      along_w[way] = at::vec::fmadd(entry, w, along_w[way]);
    }
  }
  V to_u[ways], to_w[ways];
  for (int way = 0; way < ways; ++way) {
    to_u[way] = at::vec::fmadd(V(plane.versine), along_u[way], along_w[way]);
    to_w[way] = V(plane.k) * along_w[way] - along_u[way];
    at::vec::fmadd(to_u[way], V(hidden_u), at::vec::fmadd(to_w[way], V(hidden_w), to_hidden[way]))
        .store(rotated + way * V::size());
  }
  for (int64_t unit = 0; unit < size; ++unit) {
    const V u(plane.u[unit]), w(plane.w[unit]);
    for (int way = 0; way < ways; ++way) {
      T* place = panel + unit * width + way * V::size();
      at::vec::fmadd(to_u[way], u, at::vec::fmadd(to_w[way], w, V::loadu(place))).store(place);
    }
  }
}

template <typename T>
void advance_memory(const Plane<T>& plane, const MemoryPanels<T>& memory, const T* hidden, T* rotated) {
  const T hidden_u = dot(plane.u, hidden, memory.width), hidden_w = dot(plane.w, hidden, memory.width);
  for (int64_t first = 0; first < memory.width; first += memory.rows) {
    const auto advance = [&](auto ways) {
      advance_panel<ways>(plane, hidden_u, hidden_w, memory.panel(first), memory.size, hidden, rotated + first);
    };
    switch (memory.rows_of_panel(first) / Vector<T>::size()) {
      case 1: advance(std::integral_constant<int, 1>()); break;
      case 2: advance(std::integral_constant<int, 2>()); break;
      case 3: advance(std::integral_constant<int, 3>()); break;
      default: advance(std::integral_constant<int, memory.vectors>());
    }
  }
}

// What one block of rows contributes to one step back; a number for each row.
template <typename T>
struct BlockFactors {
  T grad[memory_block];           // of what the memory was applied to give
  T to_u[memory_block];           // memory = memory before + to_u u' + to_w w'
  T to_w[memory_block];
  T left_u_grad[memory_block];    // of (memory before) u and (memory before) w
  T left_w_grad[memory_block];
};

// The factors of a block, from its dot products with u and w and those of its gradient; adds to the numbers of
// the plane's gradient.
template <typename T>
BlockFactors<T> block_factors(const Plane<T>& plane, const T* dots, const T* grad_dots, const T* grad, T hidden_u,
                              T hidden_w, PlaneGradient<T>& plane_grad) {
  BlockFactors<T> factors;
  for (int row = 0; row < memory_block; ++row) {
    // The rotation is orthogonal: its transpose takes the memory back.
    const T along_u = dots[row], along_w = dots[memory_block + row], turning = plane.turning();
    const T left_u = turning * along_u - along_w, left_w = turning * along_w + plane.square * along_u;
    const T grad_u = grad_dots[row] + grad[row] * hidden_u;
    const T grad_w = grad_dots[memory_block + row] + grad[row] * hidden_w;
    factors.grad[row] = grad[row];
    factors.to_u[row] = along_w - plane.versine * along_u;
    factors.to_w[row] = -along_u - plane.k * along_w;
    factors.left_u_grad[row] = plane.versine * grad_u - grad_w;
    factors.left_w_grad[row] = grad_u + plane.k * grad_w;
    plane_grad.versine += left_u * grad_u;
    plane_grad.k += left_w * grad_w;
  }
  return factors;
}

// Undoes `advance_memory`. `memory_grad`, of the memory after the step, becomes that of the memory before it;
// `grad` is that of `rotated`, padded to blocks; `hidden_grad` is set, the plane's gradient added to.
template <typename T>
void take_back_memory(const Plane<T>& plane, T* memory, T* memory_grad, int64_t size, int64_t width,
                      const T* hidden, const T* grad, T* hidden_grad, PlaneGradient<T>& plane_grad) {
  using V = Vector<T>;
  const T hidden_u = dot(plane.u, hidden, width), hidden_w = dot(plane.w, hidden, width);
  T hidden_grad_u = 0, hidden_grad_w = 0;
  std::fill(hidden_grad, hidden_grad + width, T(0));
  for (int64_t row = 0; row < size; row += memory_block) {
    T *rows = memory + row * width, *grad_rows = memory_grad + row * width;
    T dots[2 * memory_block], grad_dots[2 * memory_block];
    block_dots<2>(rows, width, {plane.u, plane.w}, dots);
    block_dots<2>(grad_rows, width, {plane.u, plane.w}, grad_dots);
    const BlockFactors<T> factors = block_factors(plane, dots, grad_dots, grad + row, hidden_u, hidden_w, plane_grad);
    for (int within = 0; within < memory_block; ++within) {
      hidden_grad_u += factors.grad[within] * factors.to_u[within];
      hidden_grad_w += factors.grad[within] * factors.to_w[within];
    }
    for (int64_t first = 0; first < width; first += V::size()) {
      const V u = V::loadu(plane.u + first), w = V::loadu(plane.w + first), h = V::loadu(hidden + first);
      V u_grad = V::loadu(plane_grad.u + first), w_grad = V::loadu(plane_grad.w + first);
      for (int within = 0; within < memory_block; ++within) {
        T* place = grad_rows + within * width + first;
        const V entry = at::vec::fmadd(V(factors.grad[within]), h, V::loadu(place));
        u_grad = at::vec::fmadd(V(factors.to_u[within]), entry, u_grad);
        w_grad = at::vec::fmadd(V(factors.to_w[within]), entry, w_grad);
        at::vec::fmadd(V(factors.left_u_grad[within]), u,
                       at::vec::fmadd(V(factors.left_w_grad[within]), w, entry))
            .store(place);
      }
      u_grad.store(plane_grad.u + first);
      w_grad.store(plane_grad.w + first);
    }
    for (int64_t first = 0; first < width; first += V::size()) {
      const V u = V::loadu(plane.u + first), w = V::loadu(plane.w + first);
      V h_grad = V::loadu(hidden_grad + first);
      V u_grad = V::loadu(plane_grad.u + first), w_grad = V::loadu(plane_grad.w + first);
      for (int within = 0; within < memory_block; ++within) {
        T* place = rows + within * width + first;
        const V entry = at::vec::fnmadd(V(factors.to_u[within]), u,
                                        at::vec::fnmadd(V(factors.to_w[within]), w, V::loadu(place)));
        entry.store(place);
        h_grad = at::vec::fmadd(V(factors.grad[within]), entry, h_grad);
        u_grad = at::vec::fmadd(V(factors.left_u_grad[within]), entry, u_grad);
        w_grad = at::vec::fmadd(V(factors.left_w_grad[within]), entry, w_grad);
      }
      h_grad.store(hidden_grad + first);
      u_grad.store(plane_grad.u + first);
      w_grad.store(plane_grad.w + first);
    }
  }
  for (int64_t first = 0; first < width; first += V::size()) {
    const V along_u = V(hidden_grad_u) * V::loadu(plane.u + first);
    const V along_w = V(hidden_grad_w) * V::loadu(plane.w + first);
    (V::loadu(hidden_grad + first) + along_u + along_w).store(hidden_grad + first);
  }
}

}  // namespace rmem
