// What rotates the hidden state: the step's rotation alone, or all rotations so far, in one of several forms.
#pragma once

#include "common/buffers.h"
#include "product/product.h"
#include "rotation/memory.h"
#include "rotation/plane.h"
#include "rotation/rum_form.h"

#include <algorithm>
#include <type_traits>
#include <vector>

namespace rmem {

// ---------------------------------------------------------------------------------------------------------
// Planes of the rotations of each row of the batch: of all steps, or of the one at hand (depth 1)

template <typename T>
class Planes {
 public:
  Planes(const Sizes& sizes, int64_t depth, const at::TensorOptions& options)
      : depth(depth),
        // Products with them read a panel of columns at a time, and so beyond the last row.
        vectors_(uninitialised({sizes.batch * depth * 2 * padded<T>(sizes.hidden) + panel_columns<T>}, options)),
        planes_(sizes.batch * depth) {
    const int64_t width = padded<T>(sizes.hidden);
    T* place = vectors_.mutable_data_ptr<T>();
    for (Plane<T>& plane : planes_) {
      plane.u = place;
      plane.w = place + width;
      place += 2 * width;
    }
  }

  Plane<T>* of_row(int64_t row) { return planes_.data() + row * depth; }
  Plane<T>& at(int64_t row, int64_t step) { return of_row(row)[step % depth]; }

  const int64_t depth;

 private:
  Tensor vectors_;  // [batch, depth, 2, padded], u and w
  std::vector<Plane<T>> planes_;
};

template <typename T>
class PlaneGradients {
 public:
  PlaneGradients(const Sizes& sizes, int64_t depth, const at::TensorOptions& options)
      : depth_(depth),
        width_(padded<T>(sizes.hidden)),
        vectors_(uninitialised({sizes.batch, depth, 2, width_}, options)),
        grads_(sizes.batch * depth) {
    T* place = vectors_.mutable_data_ptr<T>();
    for (PlaneGradient<T>& grad : grads_) {
      grad = {place, place + width_, 0, 0};
      place += 2 * width_;
    }
  }

  void clear(int64_t row) {
    for (int64_t step = 0; step < depth_; ++step) {
      PlaneGradient<T>& grad = at(row, step);
      std::fill(grad.u, grad.u + 2 * width_, T(0));
      grad.versine = grad.k = 0;
    }
  }

  PlaneGradient<T>* of_row(int64_t row) { return grads_.data() + row * depth_; }
  PlaneGradient<T>& at(int64_t row, int64_t step) { return of_row(row)[step % depth_]; }

 private:
  int64_t depth_, width_;
  Tensor vectors_;
  std::vector<PlaneGradient<T>> grads_;
};

// ---------------------------------------------------------------------------------------------------------
// What rotates the hidden state: the step's rotation alone, or all rotations so far, in one of two forms
//
// `forward` takes the state of one row, padded, and sets `rotated`, padded. `backward` turns the gradients of
// `rotated` of some rows, at most `rows_together`, into those of their states, in place, and adds to those of the
// planes; `rotated` is spoilt. `workspace` are numbers that the thread may use, `workspace_rows` padded rows.
// `bytes_of_row` is how much of a row of the batch a step goes over once more, if it is the last of so many.

constexpr int64_t workspace_rows = 2;

template <typename T>
class SingleRotation {
 public:
  static constexpr bool accumulates = false;
  static constexpr int64_t rows_together = 1;

  SingleRotation(const Sizes& sizes, const at::TensorOptions& options)
      : planes(sizes, 1, options), width_(padded<T>(sizes.hidden)) {}

  void forward(int64_t row, int64_t step, const T* hidden, T* rotated, T*) {
    copy(hidden, width_, rotated);
    turn<1>(&planes.at(row, step), 0, 0, &rotated, width_);
  }

  void finish_chunk(int64_t, int64_t, int64_t) {}

  int64_t bytes_of_row(int64_t) const { return 0; }

  template <typename Row>
  void backward(const Row* rows, int64_t count, int64_t step, PlaneGradients<T>& plane_grads) {
    for (const Row* at = rows; at < rows + count; ++at) {
      const TurnedBack<T> only{&planes.at(at->row, step), &plane_grads.at(at->row, step), at->rotated, at->grad};
      turn_back<1>(&only, 1, 0, width_);
    }
  }

  Planes<T> planes;

 private:
  int64_t width_;
};

// Matrices with their rows and columns padded with zeros.
template <typename T>
Tensor padded_memory(const Tensor& memory) {
  const int64_t size = memory.size(1);
  Tensor result = uninitialised({memory.size(0), padded_rows(size), padded<T>(size)}, memory.options()).zero_();
  result.narrow(1, 0, size).narrow(2, 0, size).copy_(memory);
  return result;
}

template <typename T>
bool is_identity(const Tensor& memory) {
  const auto numbers = memory.accessor<T, 3>();
  // The usual start is one identity for all rows.
  const int64_t batch = memory.stride(0) == 0 ? 1 : memory.size(0);
  for (int64_t row = 0; row < batch; ++row)
    for (int64_t unit = 0; unit < memory.size(1); ++unit) {
      bool same = true;
      for (int64_t column = 0; column < memory.size(2); ++column)
        same &= numbers[row][unit][column] == T(column == unit);
      if (!same) return false;
    }
  return true;
}

// The memory as the sequence of its rotations: each step applies all of them to the state, the last one first.
//
// A forward pass, which starts from the identity, forms the matrix as well, a chunk of steps at a time: it grows by
// (memory before)(u p' + w q') in each step, for which u and w go through the same rotations as the state.
template <typename T>
class RotationSequence {
 public:
  static constexpr bool accumulates = true;
  static constexpr int64_t rows_together = 2;

  // Of the first `depth` steps.
  RotationSequence(const Sizes& sizes, int64_t depth, const at::TensorOptions& options)
      : planes(sizes, depth, options), batch_(sizes.batch), size_(sizes.hidden), width_(padded<T>(sizes.hidden)) {}

  void prepare_forward(const at::TensorOptions& options) {
    memory = uninitialised({batch_, size_, size_}, options);
    left_ = uninitialised({batch_, std::min(chunk_steps, planes.depth), 2, width_}, options);
  }

  void prepare_backward(const Tensor& initial) {
    if (!is_identity<T>(initial)) initial_ = padded_memory<T>(initial);
  }

  void forward(int64_t row, int64_t step, const T* hidden, T* rotated, T* workspace) {
    const Plane<T>* sequence = planes.of_row(row);
    T *left_u = workspace, *left_w = workspace + width_;
    copy(hidden, width_, rotated);
    copy(sequence[step].u, width_, left_u);
    copy(sequence[step].w, width_, left_w);
    T* const vectors[3] = {rotated, left_u, left_w};
    turn<1>(sequence, step, step, vectors, width_);
    if (step > 0) turn<3>(sequence, 0, step - 1, vectors, width_);
    keep_growth(row, step, left_u, left_w);
  }

  int64_t bytes_of_row(int64_t steps) const { return 2 * steps * width_ * sizeof(T); }

  void finish_chunk(int64_t row, int64_t first, int64_t steps) {
    const Matrix<const T> left{left_.const_data_ptr<T>() + row * left_.stride(0), width_};
    const Matrix<const T> right{planes.at(row, first).u, width_};
    const Matrix<T> grown{memory.mutable_data_ptr<T>() + row * memory.stride(0), size_};
    rmem::multiply<T, Left::transposed>(left, right, size_, size_, 2 * steps, grown, first > 0);
    if (first == 0)
      for (int64_t unit = 0; unit < size_; ++unit) grown.row(unit)[unit] += 1;
  }

  template <typename Row>
  void backward(const Row* rows, int64_t count, int64_t step, PlaneGradients<T>& plane_grads) {
    TurnedBack<T> each[rows_together];
    for (int64_t index = 0; index < count; ++index) {
      const Row& at = rows[index];
      if (initial_.defined()) take_back_initial(at, step);
      each[index] = {planes.of_row(at.row), plane_grads.of_row(at.row), at.rotated, at.grad};
    }
    turn_back<rows_together>(each, count, step, width_);
  }

  Planes<T> planes;
  Tensor memory;

 private:
  // What the initial memory was applied to cannot be had from the result: it need not have an inverse.
  template <typename Row>
  void take_back_initial(const Row& at, int64_t step) {
    copy(at.hidden, width_, at.rotated);
    turn<1>(planes.of_row(at.row), 0, step, &at.rotated, width_);
    copy(at.grad, width_, at.workspace);
    multiply_transposed(initial_.const_data_ptr<T>() + at.row * initial_.stride(0), size_, width_, at.workspace,
                        at.grad);
  }

  // Keeps what u' and w' of the step are multiplied by.
  void keep_growth(int64_t row, int64_t step, const T* left_u, const T* left_w) {
    const Plane<T>& plane = planes.at(row, step);
    T* place = left_.mutable_data_ptr<T>() + row * left_.stride(0) + step % chunk_steps * left_.stride(1);
    for (int64_t unit = 0; unit < width_; ++unit) {
      place[unit] = plane.versine * left_u[unit] + left_w[unit];
      place[width_ + unit] = plane.k * left_w[unit] - left_u[unit];
    }
  }

  int64_t batch_, size_, width_;
  Tensor initial_, left_;
};

// The memory as a matrix, which each step changes by a matrix of rank two; by its columns, in the forward pass.
template <typename T>
class MemoryColumns {
 public:
  // From the memory before step `first`. `copies` [count, batch, hidden, hidden] of the matrix are written every
  // `copy_steps` steps.
  MemoryColumns(const Sizes& sizes, int64_t first, const Tensor& before, const Tensor& copies,
                const at::TensorOptions& options)
      : planes(sizes, 1, options),
        memory(uninitialised(before.sizes(), options)),
        before_(before),
        copies_(copies),
        first_(first),
        time_(sizes.time),
        size_(sizes.hidden),
        width_(padded<T>(sizes.hidden)),
        columns_(uninitialised({sizes.batch, size_, width_}, options)) {}

  void forward(int64_t row, int64_t step, const T* hidden, T* rotated, T*) {
    const MemoryPanels<T> panels = of_row(row);
    if (step == first_)
      panels.read(before_.const_data_ptr<T>() + row * before_.stride(0), before_.stride(1), before_.stride(2));
    const int64_t index = step / copy_steps - 1;
    if (step % copy_steps == 0 && index >= 0 && index < copies_.size(0)) write(row, copies_[index]);
    advance_memory(planes.at(row, step), panels, hidden, rotated);
  }

  void finish_chunk(int64_t row, int64_t first, int64_t steps) {
    if (first + steps == time_) write(row, memory);
  }

  int64_t bytes_of_row(int64_t) const { return columns_.stride(0) * sizeof(T); }

  Planes<T> planes;
  const Tensor memory;

 private:
  MemoryPanels<T> of_row(int64_t row) const {
    return {columns_.data_ptr<T>() + row * columns_.stride(0), size_, width_};
  }

  void write(int64_t row, const Tensor& matrices) const {
    of_row(row).write(matrices.data_ptr<T>() + row * matrices.stride(0));
  }

  const Tensor before_, copies_;
  int64_t first_, time_, size_, width_;
  Tensor columns_;
};

// The memory as a matrix, by its rows, in the backward pass.
template <typename T>
class MemoryRows {
 public:
  static constexpr bool accumulates = true;
  static constexpr int64_t rows_together = 1;

  // `copies` [count, batch, hidden, hidden] of the matrix are read every `copy_steps` steps.
  MemoryRows(const Sizes& sizes, const Tensor& memory, const Tensor& copies, const at::TensorOptions& options)
      : planes(sizes, 1, options),
        size_(sizes.hidden),
        width_(padded<T>(sizes.hidden)),
        matrix_(padded_memory<T>(memory)),
        copies_(copies) {}

  void prepare_backward(const optional<Tensor>& grad) {
    grad_ = grad ? padded_memory<T>(*grad) : at::zeros_like(matrix_);
  }

  Tensor memory_grad() const {
    return grad_.narrow(1, 0, size_).narrow(2, 0, size_).clone(at::MemoryFormat::Contiguous);
  }

  int64_t bytes_of_row(int64_t) const { return matrix_.stride(0) * sizeof(T); }

  template <typename Row>
  void backward(const Row* rows, int64_t count, int64_t step, PlaneGradients<T>& plane_grads) {
    for (const Row* at = rows; at < rows + count; ++at) {
      T* matrix = of_row(matrix_, at->row);
      copy(at->grad, width_, at->workspace);
      take_back_memory(planes.at(at->row, step), matrix, of_row(grad_, at->row), size_, width_, at->hidden,
                       at->workspace, at->grad, plane_grads.at(at->row, step));
      if (const T* copy = copy_at(at->row, step))
        for (int64_t unit = 0; unit < size_; ++unit) std::copy_n(copy + unit * size_, size_, matrix + unit * width_);
    }
  }

  Planes<T> planes;

 private:
  static T* of_row(const Tensor& matrices, int64_t row) { return matrices.data_ptr<T>() + row * matrices.stride(0); }

  // The copy of the matrix before a step, where there is one.
  T* copy_at(int64_t row, int64_t step) const {
    const int64_t index = step / copy_steps - 1;
    return step % copy_steps == 0 && index >= 0 && index < copies_.size(0) ? of_row(copies_[index], row) : nullptr;
  }

  int64_t size_, width_;
  Tensor matrix_, grad_, copies_;
};

// A step of the sequence costs more the more steps there were, one of the matrix always the same. Measured, as what
// follows.
constexpr int64_t least_steps = 3, least_steps_of = 2;
inline bool better_as_sequence(const Sizes& sizes) { return least_steps_of * sizes.time < least_steps * sizes.hidden; }

// The first chunk of a forward pass from the identity that columns take less time for than the sequence: that in whose
// middle there are enough rotations.
inline int64_t first_by_columns(const Sizes& sizes) {
  int64_t first = 0;
  while (first < sizes.time && 5 * (first + std::min(first + chunk_steps, sizes.time)) < 4 * sizes.hidden)
    first += chunk_steps;
  return std::min(first, sizes.time);
}

}  // namespace rmem
