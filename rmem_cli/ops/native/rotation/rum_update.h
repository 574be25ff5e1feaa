// From the rotated state of a row to the new one, and layer norm.
#pragma once

#include "common/elementwise.h"
#include "rotation/rum_form.h"

#include <algorithm>
#include <cmath>

namespace rmem {

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
    short_ = length < T(form_.eps);
    const T divisor = short_ ? T(form_.eps) : length;
    scale_ = length > T(0) ? T(*form_.eta) / divisor : T(0);
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

  // Of scaling to the length eta; `along` is the product of the gradient with the unscaled vector. A vector shorter than
  // eps is scaled as if it were that long, so that its own length plays no part. Nor does it where eta is zero in T.
  void scale_backward(T along) {
    const T eta(*form_.eta);
    const T share = short_ || scale_ == T(0) ? T(0) : along * (scale_ / eta) * (scale_ / eta);
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
  bool short_ = false;                                  // the vector is shorter than eps

  std::vector<T> row() const { return std::vector<T>(size_); }
};

}  // namespace rmem
