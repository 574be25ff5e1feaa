// The rotational unit of memory: all steps of a sequence in one call, and all steps of its gradient in another.
//
// ops/rotation/README.md derives the formulas. Each thread takes its rows of the batch through a whole chunk of
// steps by itself.

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <torch/library.h>

#include "buffers.h"
#include "cores.h"
#include "denormals.h"
#include "differentiation.h"
#include "elementwise.h"
#include "large_product.h"
#include "memory.h"
#include "plane.h"
#include "product.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace rmem {
namespace {

using at::Tensor;
using std::optional;

enum class Activation { relu, tanh, sigmoid, softsign };
enum class Normalisation { none, before_gate, after_gate };

// The form of the recurrence; see `RUMOptions`.
struct Form {
  Activation activation;
  Normalisation normalisation;
  optional<double> eta;
  double eps;
};

Form form_of(const std::string& activation, const std::string& layer_norm, optional<double> eta, double eps) {
  const auto place = [](const std::vector<std::string>& names, const std::string& name) {
    const auto found = std::find(names.begin(), names.end(), name);
    TORCH_CHECK(found != names.end(), "'", name, "' is not known");
    return found - names.begin();
  };
  return {static_cast<Activation>(place({"relu", "tanh", "sigmoid", "softsign"}, activation)),
          static_cast<Normalisation>(place({"none", "before_gate", "after_gate"}, layer_norm)), eta, eps};
}

// Steps of the forward pass after which the threads meet, and rows of all these steps in the backward pass.
constexpr int64_t chunk_steps = 64;
constexpr int64_t chunk_rows = 4096;
// Rows of the batch that make a thread worth its while: fewer take as long to multiply.
constexpr int64_t rows_per_thread = 4;
// Steps between two copies of a memory, which bound the rounding that taking it back accumulates.
constexpr int64_t copy_steps = 4 * chunk_steps;
// What a thread goes over in every step should stay in its cache from one step to the next.
constexpr int64_t cache_bytes = int64_t{5} << 18;

struct Sizes {
  int64_t batch, time, input, hidden;
  int64_t parts;  // of a step's pre-activations: embedded input, target and, if there is one, gate

  Sizes(const Tensor& x, const Tensor& hidden, bool gated)
      : batch(x.size(0)), time(x.size(1)), input(x.size(2)), hidden(hidden.size(1)), parts(gated ? 3 : 2) {}

  bool gated() const { return parts == 3; }
  int64_t row() const { return parts * hidden; }
  // Of those that see the hidden state: target and gate.
  int64_t state_row() const { return row() - hidden; }
  // Of what a step multiplies by its weights: the hidden state, the input, and one for the bias.
  int64_t joined() const { return hidden + input + 1; }
  int64_t backward_steps() const { return std::clamp<int64_t>(chunk_rows / batch, 1, time); }
};

// A tensor `[batch, time, ...]`, or nothing, whose rows of one step are read or written.
template <typename T>
class Steps {
 public:
  Steps() = default;
  explicit Steps(const Tensor& tensor)
      : data_(tensor.numel() ? tensor.data_ptr<T>() : nullptr),
        batch_stride_(data_ ? tensor.stride(0) : 0),
        time_stride_(data_ ? tensor.stride(1) : 0) {}
  explicit Steps(const optional<Tensor>& tensor) : Steps(tensor ? *tensor : Tensor()) {}

  explicit operator bool() const { return data_ != nullptr; }
  T* at(int64_t row, int64_t step) const { return data_ + row * batch_stride_ + step * time_stride_; }
  int64_t batch_stride() const { return batch_stride_; }
  int64_t time_stride() const { return time_stride_; }

 private:
  T* data_ = nullptr;
  int64_t batch_stride_ = 0, time_stride_ = 0;
};

// ---------------------------------------------------------------------------------------------------------
// Layer norm of a row

constexpr double layer_norm_eps = 1e-3;

template <typename T>
struct LayerNorm {
  const T *gain = nullptr, *bias = nullptr;
  int64_t size = 0;

  LayerNorm() = default;
  // `weights` holds a gain and a bias for each norm.
  LayerNorm(const T* weights, int64_t index, int64_t size)
      : gain(weights + 2 * index * size), bias(gain + size), size(size) {}

  // Normalises a row into `normal`, scales and shifts it into `result`; returns one over its deviation.
  T forward(const T* row, T* normal, T* result) const {
    using V = Vector<T>;
    V sum(0), squares(0);
    each_vector<T>(size, [&](int64_t first, int64_t count) { sum = sum + load(row + first, count); });
    const T mean = total_of(sum) / T(size);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V apart = load(row + first, count) - V(mean);
      store(apart, normal + first, count);
      const V counted = load(normal + first, count);
      squares = at::vec::fmadd(counted, counted, squares);
    });
    const T scale = T(1) / std::sqrt(total_of(squares) / T(size) + T(layer_norm_eps));
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V value = load(normal + first, count) * V(scale);
      store(value, normal + first, count);
      store(at::vec::fmadd(value, load(gain + first, count), load(bias + first, count)), result + first, count);
    });
    return scale;
  }

  // From the gradient of the result to that of the row, in place; adds to those of gain and bias.
  void backward(T* grad, const T* normal, T scale, T* weight_grads) const {
    using V = Vector<T>;
    V sums[2] = {V(0), V(0)};
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V value = load(normal + first, count), result_grad = load(grad + first, count);
      T *gain_grad = weight_grads + first, *bias_grad = gain_grad + size;
      store(at::vec::fmadd(result_grad, value, load(gain_grad, count)), gain_grad, count);
      store(load(bias_grad, count) + result_grad, bias_grad, count);
      const V value_grad = result_grad * load(gain + first, count);
      store(value_grad, grad + first, count);
      sums[0] = sums[0] + value_grad;
      sums[1] = at::vec::fmadd(value_grad, value, sums[1]);
    });
    T totals[2];
    totals_of<2>(sums, totals);
    const V mean(totals[0] / T(size)), along(totals[1] / T(size));
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V apart = load(grad + first, count) - mean - along * load(normal + first, count);
      store(apart * V(scale), grad + first, count);
    });
  }
};

// Which norm's weights stand where.
enum Norm : int64_t { target_norm, candidate_norm, gate_norm };

// ---------------------------------------------------------------------------------------------------------
// From the rotated state to the new one, for one row

// Each has its value, and its slope times a gradient as a function of the value.
struct Relu {
  template <typename V>
  V operator()(const V& x) const {
    return at::vec::maximum(x, V(0));
  }
  template <typename V>
  V backward(const V& value, const V& grad) const {
    return V::blendv(grad, V(0), value <= V(0));
  }
};

struct Tanh {
  template <typename V>
  V operator()(const V& x) const {
    return tanh(x);
  }
  template <typename V>
  V backward(const V& value, const V& grad) const {
    return grad - grad * value * value;
  }
};

struct Sigmoid {
  template <typename V>
  V operator()(const V& x) const {
    return sigmoid(x);
  }
  template <typename V>
  V backward(const V& value, const V& grad) const {
    return grad * (value - value * value);
  }
};

struct Softsign {
  template <typename V>
  V operator()(const V& x) const {
    return x / (V(1) + x.abs());
  }
  template <typename V>
  V backward(const V& value, const V& grad) const {
    const V rest = V(1) - value.abs();
    return grad * rest * rest;
  }
};

template <typename Body>
void with_activation(Activation activation, Body&& body) {
  switch (activation) {
    case Activation::relu: return body(Relu{});
    case Activation::tanh: return body(Tanh{});
    case Activation::sigmoid: return body(Sigmoid{});
    case Activation::softsign: return body(Softsign{});
  }
}

// What an update reads of one row.
template <typename T>
struct UpdateInputs {
  const T *embedded, *rotated, *gate, *hidden, *keep;  // gate and keep may be missing
};

template <typename T>
class Update {
  using V = Vector<T>;

 public:
  Update(const Form& form, const Sizes& sizes, const T* norm_weights)
      : form_(form), size_(sizes.hidden), gated_(sizes.gated()) {
    if (form.normalisation == Normalisation::none) return;
    candidate_norm_ = LayerNorm<T>(norm_weights, candidate_norm, size_);
    if (gated_) gate_norm_ = LayerNorm<T>(norm_weights, gate_norm, size_);
  }

  void forward(const UpdateInputs<T>& in, T* after) {
    evaluate(in);
    each_vector<T>(size_, [&](int64_t first, int64_t count) {
      V value = load(&mixed_[first], count) * V(scale_);
      if (in.keep) {
        const V hidden = load(in.hidden + first, count);
        value = at::vec::fmadd(load(in.keep + first, count), value - hidden, hidden);
      }
      store(value, after + first, count);
    });
  }

  // From `grad`, of the new hidden state, to that of the old one, in place; sets those of the candidate before
  // its activation (which is that of the embedded input and of the rotated state) and of the gate, and adds to
  // those of the norms.
  void backward(const UpdateInputs<T>& in, T* grad, T* candidate_grad, T* gate_grad, T* norm_grads) {
    evaluate(in);
    V sum(0);
    each_vector<T>(size_, [&](int64_t first, int64_t count) {
      V mixed_grad = load(grad + first, count);
      V passed(0);
      if (in.keep) {
        const V let_through = mixed_grad * load(in.keep + first, count);
        passed = mixed_grad - let_through;
        mixed_grad = let_through;
      }
      store(passed, grad + first, count);
      store(mixed_grad, &mixed_grad_[first], count);
      sum = at::vec::fmadd(load(&mixed_[first], count), mixed_grad, sum);
    });
    if (form_.eta) scale_backward(total_of(sum));
    with_activation(form_.activation, [&](auto activation) {
      each_vector<T>(size_, [&](int64_t first, int64_t count) {
        const V mixed_grad = load(&mixed_grad_[first], count), value = load(&value_[first], count);
        V value_grad = mixed_grad;
        if (gated_) {
          const V gate = load(&gate_[first], count), held = mixed_grad * gate;
          value_grad = mixed_grad - held;
          store(load(grad + first, count) + held, grad + first, count);
          store(mixed_grad * (load(in.hidden + first, count) - value), gate_grad + first, count);
        }
        store(activation.backward(value, value_grad), candidate_grad + first, count);
      });
    });
    if (candidate_norm_.gain)
      candidate_norm_.backward(candidate_grad, &candidate_normal_[0], candidate_scale_,
                               norm_grads + 2 * candidate_norm * size_);
    if (gated_) gate_backward(gate_grad, norm_grads + 2 * gate_norm * size_);
  }

 private:
  // Sets all of what is kept below.
  void evaluate(const UpdateInputs<T>& in) {
    each_vector<T>(size_, [&](int64_t first, int64_t count) {
      store(load(in.embedded + first, count) + load(in.rotated + first, count), &value_[first], count);
    });
    if (candidate_norm_.gain)
      candidate_scale_ = candidate_norm_.forward(&value_[0], &candidate_normal_[0], &value_[0]);
    if (gated_) evaluate_gate(in.gate);
    V square(0);
    with_activation(form_.activation, [&](auto activation) {
      each_vector<T>(size_, [&](int64_t first, int64_t count) {
        const V value = activation(load(&value_[first], count));
        store(value, &value_[first], count);
        V mixed = value;
        if (gated_)
          mixed = at::vec::fmadd(load(&gate_[first], count), load(in.hidden + first, count) - value, value);
        store(mixed, &mixed_[first], count);
        const V counted = load(&mixed_[first], count);
        square = at::vec::fmadd(counted, counted, square);
      });
    });
    if (!form_.eta) return;
    const T length = std::sqrt(total_of(square));
    scale_ = length <= T(form_.eps) ? T(0) : T(*form_.eta) / length;
  }

  void evaluate_gate(const T* raw) {
    if (form_.normalisation == Normalisation::before_gate) {
      gate_scale_ = gate_norm_.forward(raw, &gate_normal_[0], &gate_[0]);
      raw = &gate_[0];
    }
    each_vector<T>(size_, [&](int64_t first, int64_t count) {
      const V open = sigmoid(load(raw + first, count));
      store(open, &gate_[first], count);
      store(open, &open_[first], count);
    });
    if (form_.normalisation == Normalisation::after_gate)
      gate_scale_ = gate_norm_.forward(&open_[0], &gate_normal_[0], &gate_[0]);
  }

  void gate_backward(T* grad, T* norm_grads) {
    if (form_.normalisation == Normalisation::after_gate)
      gate_norm_.backward(grad, &gate_normal_[0], gate_scale_, norm_grads);
    each_vector<T>(size_, [&](int64_t first, int64_t count) {
      store(Sigmoid{}.backward(load(&open_[first], count), load(grad + first, count)), grad + first, count);
    });
    if (form_.normalisation == Normalisation::before_gate)
      gate_norm_.backward(grad, &gate_normal_[0], gate_scale_, norm_grads);
  }

  // Of scaling to the length eta; `along` is the product of the gradient with the unscaled vector.
  void scale_backward(T along) {
    const T eta(*form_.eta), share = along * (scale_ / eta) * (scale_ / eta);
    each_vector<T>(size_, [&](int64_t first, int64_t count) {
      const V across = load(&mixed_grad_[first], count) - V(share) * load(&mixed_[first], count);
      store(V(scale_) * across, &mixed_grad_[first], count);
    });
  }

  const Form form_;
  const int64_t size_;
  const bool gated_;
  LayerNorm<T> candidate_norm_, gate_norm_;
  std::vector<T> value_ = row(), mixed_ = row(), mixed_grad_ = row();  // activated; mixed with the old state
  std::vector<T> gate_ = row(), open_ = row();                         // the gate; its sigmoid
  std::vector<T> candidate_normal_ = row(), gate_normal_ = row();
  T candidate_scale_ = 1, gate_scale_ = 1, scale_ = 1;  // of the norms, and to the length eta

  std::vector<T> row() const { return std::vector<T>(size_); }
};

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
// `forward` takes the state of one row, padded, and sets `rotated`, padded. `backward` turns the gradient of
// `rotated`, padded, into that of the state, in place, and adds to those of the planes; `rotated` is spoilt.
// `workspace` are numbers that the thread may use, `workspace_rows` padded rows. `bytes_of_row` is how much of a
// row of the batch a step goes over once more, if it is the last of so many.

constexpr int64_t workspace_rows = 2;

template <typename T>
class SingleRotation {
 public:
  static constexpr bool accumulates = false;

  SingleRotation(const Sizes& sizes, const at::TensorOptions& options)
      : planes(sizes, 1, options), width_(padded<T>(sizes.hidden)) {}

  void forward(int64_t row, int64_t step, const T* hidden, T* rotated, T*) {
    copy(hidden, width_, rotated);
    turn<1>(&planes.at(row, step), 0, 0, &rotated, width_);
  }

  void finish_chunk(int64_t, int64_t, int64_t) {}

  int64_t bytes_of_row(int64_t) const { return 0; }

  void backward(int64_t row, int64_t step, const T*, T* rotated, T* grad, PlaneGradients<T>& plane_grads, T*) {
    turn_back(&planes.at(row, step), &plane_grads.at(row, step), 0, 0, rotated, grad, width_);
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

  void backward(int64_t row, int64_t step, const T* hidden, T* rotated, T* grad, PlaneGradients<T>& plane_grads,
                T* workspace) {
    if (initial_.defined()) {
      // What the initial memory was applied to cannot be had from the result: it need not have an inverse.
      copy(hidden, width_, rotated);
      turn<1>(planes.of_row(row), 0, step, &rotated, width_);
      copy(grad, width_, workspace);
      multiply_transposed(initial_.const_data_ptr<T>() + row * initial_.stride(0), size_, width_, workspace, grad);
    }
    turn_back(planes.of_row(row), plane_grads.of_row(row), 0, step, rotated, grad, width_);
  }

  Planes<T> planes;
  Tensor memory;

 private:
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

  void backward(int64_t row, int64_t step, const T* hidden, T*, T* grad, PlaneGradients<T>& plane_grads,
                T* workspace) {
    T* matrix = of_row(matrix_, row);
    copy(grad, width_, workspace);
    take_back_memory(planes.at(row, step), matrix, of_row(grad_, row), size_, width_, hidden, workspace, grad,
                     plane_grads.at(row, step));
    if (const T* copy = copy_at(row, step))
      for (int64_t unit = 0; unit < size_; ++unit) std::copy_n(copy + unit * size_, size_, matrix + unit * width_);
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
bool better_as_sequence(const Sizes& sizes) { return 2 * sizes.time < 3 * sizes.hidden; }

// The first chunk of a forward pass from the identity that columns take less time for than the sequence: that in whose
// middle there are enough rotations.
int64_t first_by_columns(const Sizes& sizes) {
  int64_t first = 0;
  while (first < sizes.time && 5 * (first + std::min(first + chunk_steps, sizes.time)) < 4 * sizes.hidden)
    first += chunk_steps;
  return std::min(first, sizes.time);
}

// ---------------------------------------------------------------------------------------------------------
// Sequences

// The maps to embedded inputs, targets and gates. The rows of a kernel are those for the input and, but for the
// embedding, those for the hidden state; a bias may be missing, and the gate.
struct Maps {
  const Tensor& embedding;
  const optional<Tensor>& embedding_bias;
  const Tensor& target;
  const optional<Tensor>&target_bias, &gate, &gate_bias;

  // For the input, all of them beside each other: [input, row].
  Tensor of_inputs(const Sizes& sizes) const {
    const Tensor of_target = target.narrow(0, 0, sizes.input);
    if (!gate) return at::cat({embedding, of_target}, 1);
    return at::cat({embedding, of_target, gate->narrow(0, 0, sizes.input)}, 1);
  }

  // For the hidden state: [hidden, row - hidden].
  Tensor of_states(const Sizes& sizes) const {
    const Tensor of_target = target.narrow(0, sizes.input, sizes.hidden);
    if (!gate) return of_target.contiguous();
    return at::cat({of_target, gate->narrow(0, sizes.input, sizes.hidden)}, 1);
  }

  Tensor biases(const Sizes& sizes) const {
    const Tensor none = at::zeros({sizes.hidden}, target.options());
    const Tensor of_embedding = embedding_bias.value_or(none), of_target = target_bias.value_or(none);
    if (!gate) return at::cat({of_embedding, of_target});
    return at::cat({of_embedding, of_target, gate_bias.value_or(none)});
  }
};

// What both passes are given; norms and hidden states are contiguous.
struct Problem {
  const Tensor &x, &hidden;  // [batch, time, input], [batch, hidden]
  const Maps& maps;
  const optional<Tensor>&norms, &keep, &active;  // [norms, 2, hidden], [batch, time, hidden], [batch, time]
  Form form;
  Sizes sizes = Sizes(x, hidden, maps.gate.has_value());
  Tensor input_weight = maps.of_inputs(sizes), recurrent_weight = maps.of_states(sizes);

  template <typename T>
  const T* norm_weights() const {
    return norms ? norms->const_data_ptr<T>() : nullptr;
  }
};

// The target of a row's rotation, behind its layer norm if there is one.
template <typename T>
class Target {
 public:
  explicit Target(const Problem& problem)
      : normal_(problem.norms ? problem.sizes.hidden : 0), value_(problem.norms ? problem.sizes.hidden : 0) {
    if (problem.norms) norm_ = LayerNorm<T>(problem.norm_weights<T>(), target_norm, problem.sizes.hidden);
  }

  const T* forward(const T* raw) {
    if (!norm_.gain) return raw;
    scale_ = norm_.forward(raw, normal_.data(), value_.data());
    return value_.data();
  }

  void backward(T* grad, T* norm_grads) const {
    if (norm_.gain) norm_.backward(grad, normal_.data(), scale_, norm_grads + 2 * target_norm * norm_.size);
  }

 private:
  LayerNorm<T> norm_;
  std::vector<T> normal_, value_;
  T scale_ = 1;
};

// What a thread needs for the row at hand.
template <typename T>
struct Row {
  Target<T> target;
  Update<T> update;
  const int64_t width;
  const Tensor numbers;                    // aligned, unlike a std::vector
  T *hidden, *rotated, *grad, *workspace;  // padded

  explicit Row(const Problem& problem)
      : target(problem),
        update(problem.form, problem.sizes, problem.norm_weights<T>()),
        width(padded<T>(problem.sizes.hidden)),
        numbers(at::zeros({3 + workspace_rows, width}, problem.x.options())),
        hidden(numbers.mutable_data_ptr<T>()),
        rotated(hidden + width),
        grad(rotated + width),
        workspace(grad + width) {}
};

// What a backward pass reads.
struct Saved {
  Tensor parts;    // [time, batch, parts, hidden]: embedded inputs, targets and gates before norms and sigmoid
  Tensor rotated;  // [batch, time, hidden], by the memory; empty without one
};

// Takes rows in groups of which each goes through all steps of a chunk before the next.
template <typename Body>
void each_group(int64_t begin, int64_t end, int64_t bytes_of_row, Body&& body) {
  const int64_t size = bytes_of_row ? std::max<int64_t>(cache_bytes / bytes_of_row, 1) : end - begin;
  for (int64_t from = begin; from < end; from += size) body(from, std::min(from + size, end));
}

template <typename T, typename Rotation>
class ForwardPass {
 public:
  ForwardPass(const Problem& problem, Rotation& rotation, const Saved& saved, const Tensor& outputs,
              const Tensor& hidden, const Tensor& cosines)
      : problem_(problem),
        sizes_(problem.sizes),
        rotation_(rotation),
        input_(problem.input_weight.const_data_ptr<T>(), sizes_.input, sizes_.row(), sizes_.row(), 1,
               problem.input_weight.nbytes()),
        recurrent_(problem.recurrent_weight.const_data_ptr<T>(), sizes_.hidden, sizes_.row() - sizes_.hidden,
                   sizes_.row() - sizes_.hidden, 1, problem.recurrent_weight.nbytes()),
        biases_(problem.maps.biases(sizes_)),
        x_(problem.x),
        parts_(saved.parts),
        states_(hidden.mutable_data_ptr<T>()),
        rotated_(saved.rotated),
        outputs_(outputs),
        cosines_(cosines),
        keep_(problem.keep),
        active_(problem.active) {}

  // Steps from `begin` up to `end`.
  void run(int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += chunk_steps) {
      const int64_t steps = std::min(chunk_steps, end - first);
      // Parts that are not kept for a backward pass have room for one chunk.
      const Tensor parts = parts_.narrow(0, parts_.size(0) < sizes_.time ? 0 : first, steps);
      parallel_for(0, sizes_.batch, rows_per_thread, [&](int64_t first_row, int64_t last_row) {
        const FlushDenormals flush;
        Row<T> at(problem_);
        each_group(first_row, last_row, rotation_.bytes_of_row(first + steps), [&](int64_t from, int64_t to) {
          multiply_inputs(from, to, first, steps, parts.mutable_data_ptr<T>());
          for (int64_t step = 0; step < steps; ++step) {
            T* rows = parts.mutable_data_ptr<T>() + step * sizes_.batch * sizes_.row();
            recurrent_.accumulate(states_ + from * sizes_.hidden, sizes_.hidden, to - from,
                                  rows + from * sizes_.row() + sizes_.hidden, sizes_.row());
            for (int64_t row = from; row < to; ++row) step_of_row(row, first + step, rows + row * sizes_.row(), at);
          }
          for (int64_t row = from; row < to; ++row) rotation_.finish_chunk(row, first, steps);
        });
      });
    }
  }

 private:
  // Sets the parts of some rows and steps to what inputs and biases give: step by step or, if there are more steps
  // than rows, row by row.
  void multiply_inputs(int64_t from, int64_t to, int64_t first, int64_t steps, T* parts) const {
    const T* bias = biases_.const_data_ptr<T>();
    const int64_t size = sizes_.row(), step_size = sizes_.batch * size;
    for (int64_t step = 0; step < steps; ++step)
      for (int64_t row = from; row < to; ++row) copy(bias, size, parts + step * step_size + row * size);
    if (steps > to - from) {
      for (int64_t row = from; row < to; ++row)
        input_.accumulate(x_.at(row, first), x_.time_stride(), steps, parts + row * size, step_size);
    } else {
      for (int64_t step = 0; step < steps; ++step)
        input_.accumulate(x_.at(from, first + step), x_.batch_stride(), to - from,
                          parts + step * step_size + from * size, size);
    }
  }

  void step_of_row(int64_t row, int64_t step, T* parts, Row<T>& at) {
    const int64_t size = sizes_.hidden;
    T *embedded = parts, *state = states_ + row * size;
    const bool counts = !active_ || *active_.at(row, step) > 0;
    // The rotation from a zero vector is the identity.
    if (!counts) std::fill_n(embedded, size, T(0));
    Plane<T>& plane = rotation_.planes.at(row, step);
    set_plane(embedded, at.target.forward(parts + size), size, T(problem_.form.eps), plane);
    *cosines_.at(row, step) = plane.turning();
    copy(state, size, at.hidden);
    rotation_.forward(row, step, at.hidden, at.rotated, at.workspace);
    if (rotated_) copy(at.rotated, size, rotated_.at(row, step));
    const T* keep = keep_ ? keep_.at(row, step) : nullptr;
    if (counts) at.update.forward({embedded, at.rotated, parts + 2 * size, at.hidden, keep}, state);
    copy(state, size, outputs_.at(row, step));
  }

  const Problem& problem_;
  const Sizes& sizes_;
  Rotation& rotation_;
  const PackedMatrix<T> input_, recurrent_;
  const Tensor biases_;
  const Steps<T> x_;
  const Tensor& parts_;
  T* states_;
  const Steps<T> rotated_, outputs_, cosines_, keep_, active_;
};

// Gradients that are asked for: of the embedding's map, and of those of target and gate.
struct Wanted {
  bool x, memory, embedding, rotation;
};

// Gradients of arguments; those that are not there, or not wanted, are empty.
struct Gradients {
  Tensor x, hidden, memory, norms;
  // Of the weights of target and gate, one below the other as in `joined`; and of those of the embedding, which has
  // none for the hidden state.
  Tensor rotation, embedding;
};

// A kernel and its bias.
using MapGradient = std::pair<Tensor, Tensor>;

MapGradient embedding_gradient(const Tensor& weights, const Sizes& sizes) {
  const Tensor nothing = at::empty({0}, weights.options());
  if (weights.size(0) == 0) return {nothing, nothing};
  return {weights.narrow(0, 0, sizes.input).clone(), weights.select(0, sizes.input).clone()};
}

// Of the map to the target (0) or to the gate (1).
MapGradient state_gradient(const Tensor& weights, const Sizes& sizes, int64_t part) {
  const Tensor nothing = at::empty({0}, weights.options());
  if (part * sizes.hidden >= weights.size(1)) return {nothing, nothing};
  const Tensor all = weights.narrow(1, part * sizes.hidden, sizes.hidden);
  return {at::cat({all.narrow(0, sizes.hidden, sizes.input), all.narrow(0, 0, sizes.hidden)}),
          all.select(0, sizes.hidden + sizes.input).clone()};
}

template <typename T, typename Rotation>
class BackwardPass {
 public:
  BackwardPass(const Problem& problem, Rotation& rotation, const Saved& saved, const Tensor& outputs,
               const optional<Tensor>& outputs_grad, const optional<Tensor>& cosines_grad, Gradients& grads)
      : problem_(problem),
        sizes_(problem.sizes),
        rotation_(rotation),
        recurrent_(problem.recurrent_weight.const_data_ptr<T>(), sizes_.state_row(), sizes_.hidden, 1,
                   sizes_.state_row(), problem.recurrent_weight.nbytes()),
        plane_grads_(sizes_, rotation.planes.depth, problem.x.options()),
        joined_(uninitialised({sizes_.backward_steps(), sizes_.batch, sizes_.joined()}, problem.x.options())),
        embedding_grads_(uninitialised({sizes_.backward_steps(), sizes_.batch, sizes_.hidden}, problem.x.options())),
        part_grads_(uninitialised({sizes_.backward_steps(), sizes_.batch, sizes_.state_row()}, problem.x.options())),
        norm_grads_(at::zeros({problem.norms ? sizes_.batch : 0, 2 * sizes_.parts * sizes_.hidden},
                              problem.x.options())),
        parts_(saved.parts.const_data_ptr<T>()),
        joined_rows_(joined_.mutable_data_ptr<T>()),
        embedding_grad_rows_(embedding_grads_.mutable_data_ptr<T>()),
        part_grad_rows_(part_grads_.mutable_data_ptr<T>()),
        state_grads_(grads.hidden.mutable_data_ptr<T>()),
        x_(problem.x),
        rotated_(saved.rotated),
        outputs_(outputs),
        keep_(problem.keep),
        active_(problem.active),
        outputs_grad_(outputs_grad),
        cosines_grad_(cosines_grad),
        grads_(grads) {}

  void run(const Wanted& wanted) {
    const int64_t chunk = sizes_.backward_steps();
    for (int64_t end_step = sizes_.time; end_step > 0; end_step -= std::min(chunk, end_step)) {
      const int64_t steps = std::min(chunk, end_step), first = end_step - steps;
      parallel_for(0, sizes_.batch, rows_per_thread, [&](int64_t begin, int64_t end) {
        const FlushDenormals flush;
        Row<T> at(problem_);
        if (end_step == sizes_.time && remembers_planes()) set_planes(begin, end, at.target);
        // A backward pass goes over gradients as well.
        each_group(begin, end, 2 * rotation_.bytes_of_row(end_step), [&](int64_t from, int64_t to) {
          for (int64_t step = steps - 1; step >= 0; --step) {
            for (int64_t row = from; row < to; ++row) step_of_row(row, first, step, at);
            const T* grads = part_grad_rows_ + (step * sizes_.batch + from) * sizes_.state_row();
            recurrent_.accumulate(grads, sizes_.state_row(), to - from, hidden_grad(from), sizes_.hidden);
          }
        });
      });
      add_products(first, steps, wanted);
    }
    if (problem_.norms) grads_.norms = norm_grads_.sum(0).view({sizes_.parts, 2, sizes_.hidden});
  }

 private:
  bool remembers_planes() const { return rotation_.planes.depth > 1; }

  const T* parts_of(int64_t row, int64_t step) const {
    return parts_ + (step * sizes_.batch + row) * sizes_.row();
  }

  T* hidden_grad(int64_t row) const { return state_grads_ + row * sizes_.hidden; }

  // Of some rows in all steps, as a step goes through the planes of all before it.
  void set_planes(int64_t begin, int64_t end, Target<T>& target) {
    for (int64_t row = begin; row < end; ++row) {
      plane_grads_.clear(row);
      for (int64_t step = 0; step < sizes_.time; ++step) set_plane_of(row, step, target);
    }
  }

  const T* set_plane_of(int64_t row, int64_t step, Target<T>& target) {
    const T *parts = parts_of(row, step), *value = target.forward(parts + sizes_.hidden);
    set_plane(parts, value, sizes_.hidden, T(problem_.form.eps), rotation_.planes.at(row, step));
    return value;
  }

  void step_of_row(int64_t row, int64_t first, int64_t step_of_chunk, Row<T>& at) {
    const int64_t size = sizes_.hidden, step = first + step_of_chunk;
    const int64_t place = step_of_chunk * sizes_.batch + row;
    T *embedding_grad = embedding_grad_rows_ + place * size, *part_grads = part_grad_rows_ + place * sizes_.state_row();
    T* state_grad = hidden_grad(row);
    const T* before = step ? outputs_.at(row, step - 1) : problem_.hidden.const_data_ptr<T>() + row * size;
    join(before, x_.at(row, step), joined_rows_ + place * sizes_.joined());
    if (outputs_grad_) add(outputs_grad_.at(row, step), state_grad);
    if (active_ && !(*active_.at(row, step) > 0)) {
      std::fill_n(embedding_grad, size, T(0));
      std::fill_n(part_grads, sizes_.state_row(), T(0));
      return;
    }
    copy(before, size, at.hidden);
    const T* target = remembers_planes() ? at.target.forward(parts_of(row, step) + size)
                                         : set_plane_of(row, step, at.target);
    rotate_again(row, step, at);
    update_backward(row, step, part_grads + size, state_grad, at);
    copy(at.grad, size, embedding_grad);
    if (!remembers_planes()) plane_grads_.clear(row);
    PlaneGradient<T>& plane_grad = plane_grads_.at(row, step);
    if (cosines_grad_) plane_grad.versine += *cosines_grad_.at(row, step);
    rotation_.backward(row, step, at.hidden, at.rotated, at.grad, plane_grads_, at.workspace);
    add(at.grad, state_grad);
    plane_backward(rotation_.planes.at(row, step), target, size, plane_grad, embedding_grad, part_grads);
    at.target.backward(part_grads, norm_grads(row));
  }

  void join(const T* state, const T* input, T* joined) const {
    copy(state, sizes_.hidden, joined);
    copy(input, sizes_.input, joined + sizes_.hidden);
    joined[sizes_.joined() - 1] = 1;
  }

  void rotate_again(int64_t row, int64_t step, Row<T>& at) {
    if constexpr (Rotation::accumulates) {
      copy(rotated_.at(row, step), sizes_.hidden, at.rotated);
    } else {
      rotation_.forward(row, step, at.hidden, at.rotated, at.workspace);
    }
  }

  // Leaves the gradient of the rotated state in `at.grad`, which is that of the embedded input, too.
  void update_backward(int64_t row, int64_t step, T* gate_grad, T* state_grad, Row<T>& at) {
    const T *parts = parts_of(row, step), *keep = keep_ ? keep_.at(row, step) : nullptr;
    at.update.backward({parts, at.rotated, parts + 2 * sizes_.hidden, at.hidden, keep}, state_grad, at.grad, gate_grad,
                       norm_grads(row));
  }

  T* norm_grads(int64_t row) const { return norm_grads_.mutable_data_ptr<T>() + row * norm_grads_.size(1); }

  void add(const T* from, T* to) const {
    each_vector<T>(sizes_.hidden, [&](int64_t first, int64_t count) {
      store(load(to + first, count) + load(from + first, count), to + first, count);
    });
  }

  // Of the chunk at hand.
  void add_products(int64_t first, int64_t steps, const Wanted& wanted) {
    const int64_t rows = steps * sizes_.batch;
    const Matrix<const T> joined{joined_rows_, sizes_.joined()};
    const Matrix<const T> embedding_grads{embedding_grad_rows_, sizes_.hidden};
    const Matrix<const T> part_grads{part_grad_rows_, sizes_.state_row()};
    if (wanted.rotation)
      add_product<T>(joined, sizes_.joined(), part_grads, sizes_.state_row(), rows,
                     {grads_.rotation.mutable_data_ptr<T>(), sizes_.state_row()});
    if (wanted.embedding)
      add_product<T>(joined.from_column(sizes_.hidden), sizes_.input + 1, embedding_grads, sizes_.hidden, rows,
                     {grads_.embedding.mutable_data_ptr<T>(), sizes_.hidden});
    if (wanted.x) add_x(first, steps);
  }

  void add_x(int64_t first, int64_t steps) {
    const int64_t rows = steps * sizes_.batch;
    Tensor grad = uninitialised({steps, sizes_.batch, sizes_.input}, grads_.x.options());
    const Matrix<T> sums{grad.mutable_data_ptr<T>(), sizes_.input};
    const Matrix<const T> weights{problem_.input_weight.const_data_ptr<T>(), sizes_.row()};
    multiply_large<T, Left::plain, Right::transposed>({embedding_grad_rows_, sizes_.hidden}, weights, rows,
                                                      sizes_.input, sizes_.hidden, sums, {});
    multiply_large<T, Left::plain, Right::transposed>({part_grad_rows_, sizes_.state_row()},
                                                      weights.from_column(sizes_.hidden), rows, sizes_.input,
                                                      sizes_.state_row(), sums, {true, nullptr});
    grads_.x.narrow(1, first, steps).copy_(grad.transpose(0, 1));
  }

  const Problem& problem_;
  const Sizes& sizes_;
  Rotation& rotation_;
  const PackedMatrix<T> recurrent_;
  PlaneGradients<T> plane_grads_;
  const Tensor joined_, embedding_grads_, part_grads_;  // of the chunk at hand, time first
  const Tensor norm_grads_;  // of each row of the batch, so that threads need not wait for one another
  const T* parts_;
  T *joined_rows_, *embedding_grad_rows_, *part_grad_rows_, *state_grads_;
  const Steps<T> x_, rotated_, outputs_, keep_, active_, outputs_grad_, cosines_grad_;
  Gradients& grads_;
};

// ---------------------------------------------------------------------------------------------------------
// Operations

void check_rows(const Tensor& tensor) {
  TORCH_CHECK(tensor.size(-1) <= 1 || tensor.stride(-1) == 1, "the last axis of a tensor is not contiguous");
}

void check(const Problem& problem, const optional<Tensor>& memory) {
  TORCH_CHECK(problem.hidden.is_contiguous(), "the hidden state is not contiguous");
  if (problem.norms) TORCH_CHECK(problem.norms->is_contiguous(), "the weights of the norms are not contiguous");
  if (problem.keep) check_rows(*problem.keep);
  check_rows(problem.x);
  const Sizes& sizes = problem.sizes;
  TORCH_CHECK(sizes.time > 0, "a sequence has no step");
  TORCH_CHECK(problem.input_weight.size(1) == sizes.row() && problem.recurrent_weight.size(0) == sizes.hidden,
              "the maps do not belong together");
  TORCH_CHECK(!memory || memory->size(1) == sizes.hidden, "the memory is not of the hidden size");
}

using Forward = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// Outputs, last hidden state, last memory, cosines; and, if they are to be kept, what the gradient needs: parts,
// rotated states, copies of the memory.
Forward rum(const Tensor& x, const Tensor& hidden, const optional<Tensor>& memory, const Tensor& embedding,
            const optional<Tensor>& embedding_bias, const Tensor& target, const optional<Tensor>& target_bias,
            const optional<Tensor>& gate, const optional<Tensor>& gate_bias, const optional<Tensor>& norms,
            const optional<Tensor>& keep, const optional<Tensor>& active, const std::string& activation,
            const std::string& layer_norm, optional<double> eta, double eps, bool keeps) {
  const Maps maps{embedding, embedding_bias, target, target_bias, gate, gate_bias};
  const Problem problem{x, hidden, maps, norms, keep, active, form_of(activation, layer_norm, eta, eps)};
  check(problem, memory);
  const Sizes& sizes = problem.sizes;
  const auto& options = x.options();
  const Tensor outputs = uninitialised({sizes.batch, sizes.time, sizes.hidden}, options);
  const Tensor cosines = at::empty({sizes.batch, sizes.time}, options);
  const Tensor last = hidden.clone();
  Tensor last_memory = at::empty({0}, options), copies = at::empty({0}, options);
  const int64_t kept = keeps ? sizes.time : std::min(chunk_steps, sizes.time);
  Saved saved{uninitialised({kept, sizes.batch, sizes.parts, sizes.hidden}, options),
              uninitialised({keeps && memory ? sizes.batch : 0, sizes.time, sizes.hidden}, options)};
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rum", [&] {
    using T = scalar_t;
    const auto run = [&](auto& rotation, int64_t begin, int64_t end) {
      ForwardPass<T, std::decay_t<decltype(rotation)>>(problem, rotation, saved, outputs, last, cosines).run(begin, end);
    };
    if (!memory) {
      SingleRotation<T> rotation(sizes, options);
      run(rotation, 0, sizes.time);
      return;
    }
    const bool as_sequence = better_as_sequence(sizes);
    const int64_t first = as_sequence && is_identity<T>(*memory) ? first_by_columns(sizes) : 0;
    last_memory = *memory;
    if (first > 0) {
      RotationSequence<T> rotation(sizes, first, options);
      rotation.prepare_forward(options);
      run(rotation, 0, first);
      last_memory = rotation.memory;
    }
    if (first < sizes.time) {
      const int64_t count = keeps && !as_sequence ? (sizes.time - 1) / copy_steps : 0;
      if (!as_sequence) copies = uninitialised({count, sizes.batch, sizes.hidden, sizes.hidden}, options);
      MemoryColumns<T> rotation(sizes, first, last_memory, copies, options);
      run(rotation, first, sizes.time);
      last_memory = rotation.memory;
    }
  });
  if (!keeps) saved.parts = at::empty({0}, options);
  return {outputs, last, last_memory, cosines, saved.parts, saved.rotated, copies};
}

using Backward = std::tuple<Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor>;

// Gradients of x, hidden, memory, the kernels and biases of embedding, target and gate, and norms; those that are not
// there, or not wanted, are empty.
Backward rum_backward(const optional<Tensor>& outputs_grad, const optional<Tensor>& hidden_grad,
                      const optional<Tensor>& memory_grad, const optional<Tensor>& cosines_grad, const Tensor& x,
                      const Tensor& hidden, const optional<Tensor>& memory, const Tensor& embedding,
                      const Tensor& target, const optional<Tensor>& gate, const optional<Tensor>& norms,
                      const optional<Tensor>& keep, const optional<Tensor>& active, const Tensor& outputs,
                      const Tensor& last_memory, const Tensor& parts, const Tensor& rotated, const Tensor& copies,
                      const std::string& activation, const std::string& layer_norm, optional<double> eta, double eps,
                      bool want_x, bool want_memory, bool want_embedding, bool want_rotation) {
  const optional<Tensor> no_bias;
  const Maps maps{embedding, no_bias, target, no_bias, gate, no_bias};
  const Problem problem{x, hidden, maps, norms, keep, active, form_of(activation, layer_norm, eta, eps)};
  check(problem, memory);
  if (outputs_grad) check_rows(*outputs_grad);
  const Sizes& sizes = problem.sizes;
  const auto& options = x.options();
  const Wanted wanted{want_x, want_memory, want_embedding, want_rotation};
  Gradients grads{want_x ? uninitialised(x.sizes(), options) : at::empty({0}, options),
                  hidden_grad ? hidden_grad->clone(at::MemoryFormat::Contiguous) : at::zeros_like(hidden),
                  at::empty({0}, options), at::empty({0}, options),
                  at::zeros({want_rotation ? sizes.joined() : 0, want_rotation ? sizes.state_row() : 0}, options),
                  at::zeros({want_embedding ? sizes.input + 1 : 0, sizes.hidden}, options)};
  const Saved saved{parts, rotated};
  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "rum_backward", [&] {
    using T = scalar_t;
    const auto run = [&](auto& rotation) {
      BackwardPass<T, std::decay_t<decltype(rotation)>>(problem, rotation, saved, outputs, outputs_grad, cosines_grad,
                                                        grads)
          .run(wanted);
    };
    if (!memory) {
      SingleRotation<T> rotation(sizes, options);
      run(rotation);
    } else if (better_as_sequence(sizes) && !memory_grad && !want_memory) {
      RotationSequence<T> rotation(sizes, sizes.time, options);
      rotation.prepare_backward(*memory);
      run(rotation);
    } else {
      MemoryRows<T> rotation(sizes, last_memory, copies, options);
      rotation.prepare_backward(memory_grad);
      run(rotation);
      if (want_memory) grads.memory = rotation.memory_grad();
    }
  });
  const auto [embedding_grad, embedding_bias_grad] = embedding_gradient(grads.embedding, sizes);
  const auto [target_grad, target_bias_grad] = state_gradient(grads.rotation, sizes, 0);
  const auto [gate_grad, gate_bias_grad] = state_gradient(grads.rotation, sizes, 1);
  return {grads.x,     grads.hidden,     grads.memory, embedding_grad, embedding_bias_grad,
          target_grad, target_bias_grad, gate_grad,    gate_bias_grad, grads.norms};
}

// ---------------------------------------------------------------------------------------------------------
// Differentiation

class DifferentiableRUM : public torch::autograd::Function<DifferentiableRUM> {
 public:
  static Variables forward(Context* context, const Tensor& x, const Tensor& hidden, const optional<Tensor>& memory,
                           const Tensor& embedding, const optional<Tensor>& embedding_bias, const Tensor& target,
                           const optional<Tensor>& target_bias, const optional<Tensor>& gate,
                           const optional<Tensor>& gate_bias, const optional<Tensor>& norms,
                           const optional<Tensor>& keep, const optional<Tensor>& active,
                           const std::string& activation, const std::string& layer_norm, optional<double> eta,
                           double eps, bool keeps) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto [outputs, last, last_memory, cosines, parts, rotated, copies] = operation<&rum>("rmem::rum").call(
        x, hidden, memory, embedding, embedding_bias, target, target_bias, gate, gate_bias, norms, keep, active,
        activation, layer_norm, eta, eps, keeps);
    const auto saved = [](const optional<Tensor>& tensor) { return tensor.value_or(Tensor()); };
    context->save_for_backward({x, hidden, saved(memory), embedding, target, saved(gate), saved(norms), saved(keep),
                                saved(active), outputs, last_memory, parts, rotated, copies});
    context->saved_data["activation"] = activation;
    context->saved_data["layer_norm"] = layer_norm;
    context->saved_data["eta"] = eta;
    context->saved_data["eps"] = eps;
    const bool want_embedding = wants_gradient(embedding) || wants_gradient(embedding_bias);
    const bool want_target = wants_gradient(target) || wants_gradient(target_bias);
    const bool want_rotation = want_target || wants_gradient(gate) || wants_gradient(gate_bias);
    // Which of the arguments are given a gradient, in the order of `Backward`.
    context->saved_data["given"] = std::vector<bool>{wants_gradient(x),
                                                     true,
                                                     wants_gradient(memory),
                                                     want_embedding,
                                                     want_embedding && embedding_bias,
                                                     want_rotation,
                                                     want_rotation && target_bias,
                                                     want_rotation && gate,
                                                     want_rotation && gate_bias,
                                                     norms.has_value()};
    // Zeros in the place of a gradient that nobody gave would be as large as the sequence.
    context->set_materialize_grads(false);
    Variables constant{parts, rotated, copies};
    if (!memory) constant.push_back(last_memory);
    context->mark_non_differentiable(constant);
    return {outputs, last, last_memory, cosines, parts, rotated, copies};
  }

  static Variables backward(Context* context, const Variables& grads) {
    const Variables saved = context->get_saved_variables();
    auto& data = context->saved_data;
    const std::vector<bool> given = data["given"].to<std::vector<bool>>();
    const RecordIfAsked recording;
    const auto results = operation<&rum_backward>("rmem::rum_backward")
        .call(contiguous(grads[0]), present(grads[1]), present(grads[2]), present(grads[3]), saved[0], saved[1],
              present(saved[2]), saved[3], saved[4], present(saved[5]), present(saved[6]), present(saved[7]),
              present(saved[8]), saved[9], saved[10], saved[11], saved[12], saved[13],
              data["activation"].toStringRef(), data["layer_norm"].toStringRef(), data["eta"].toOptional<double>(),
              data["eps"].toDouble(), given[0], given[2], given[3], given[5]);
    Variables gradients = std::apply([](const auto&... tensors) { return Variables{tensors...}; }, results);
    for (size_t index = 0; index < gradients.size(); ++index)
      if (!given[index]) gradients[index] = Tensor();
    // There is none of the arguments behind the norms.
    gradients.resize(arguments);
    return gradients;
  }

 private:
  static constexpr size_t arguments = 17;
};

Forward differentiable_rum(const Tensor& x, const Tensor& hidden, const optional<Tensor>& memory,
                           const Tensor& embedding, const optional<Tensor>& embedding_bias, const Tensor& target,
                           const optional<Tensor>& target_bias, const optional<Tensor>& gate,
                           const optional<Tensor>& gate_bias, const optional<Tensor>& norms,
                           const optional<Tensor>& keep, const optional<Tensor>& active,
                           const std::string& activation, const std::string& layer_norm, optional<double> eta,
                           double eps, bool keeps) {
  const auto results =
      DifferentiableRUM::apply(x, hidden, memory, embedding, embedding_bias, target, target_bias, gate, gate_bias,
                               norms, keep, active, activation, layer_norm, eta, eps, keeps);
  return {results[0], results[1], results[2], results[3], results[4], results[5], results[6]};
}

}  // namespace
}  // namespace rmem

TORCH_LIBRARY_FRAGMENT(rmem, library) {
  library.def(
      "rum(Tensor x, Tensor hidden, Tensor? memory, Tensor embedding, Tensor? embedding_bias, Tensor target, "
      "Tensor? target_bias, Tensor? gate, Tensor? gate_bias, Tensor? norms, Tensor? keep, Tensor? active, "
      "str activation, str layer_norm, float? eta, float eps, bool keeps) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
  library.def(
      "rum_backward(Tensor? outputs_grad, Tensor? hidden_grad, Tensor? memory_grad, Tensor? cosines_grad, Tensor x, "
      "Tensor hidden, Tensor? memory, Tensor embedding, Tensor target, Tensor? gate, Tensor? norms, Tensor? keep, "
      "Tensor? active, Tensor outputs, Tensor last_memory, Tensor parts, Tensor rotated, Tensor copies, "
      "str activation, str layer_norm, float? eta, float eps, bool want_x, bool want_memory, bool want_embedding, "
      "bool want_rotation) "
      "-> (Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor)");
}

TORCH_LIBRARY_IMPL(rmem, CPU, library) {
  library.impl("rum", &rmem::rum);
  library.impl("rum_backward", &rmem::rum_backward);
}

TORCH_LIBRARY_IMPL(rmem, Autograd, library) { library.impl("rum", &rmem::differentiable_rum); }
