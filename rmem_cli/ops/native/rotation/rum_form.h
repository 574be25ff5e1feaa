// The form of a rotational unit of memory, and the sizes of a sequence.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace rmem {

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

inline Form form_of(const std::string& activation, const std::string& layer_norm, optional<double> eta, double eps) {
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
// Steps between two copies of a memory, which bound the rounding that taking it back accumulates.
constexpr int64_t copy_steps = 4 * chunk_steps;

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
  int64_t backward_steps() const { return std::clamp<int64_t>(chunk_rows / std::max<int64_t>(batch, 1), 1, time); }
};

// A tensor `[batch, time, ...]`, or nothing, whose rows of one step are read or written. But where `unit_stride` is
// asked for, the numbers of a row lie beside each other.
template <typename T>
class Steps {
 public:
  Steps() = default;
  explicit Steps(const Tensor& tensor)
      : data_(tensor.numel() ? tensor.data_ptr<T>() : nullptr),
        batch_stride_(data_ ? tensor.stride(0) : 0),
        time_stride_(data_ ? tensor.stride(1) : 0),
        unit_stride_(data_ && tensor.dim() > 2 ? tensor.stride(2) : 1) {}
  explicit Steps(const optional<Tensor>& tensor) : Steps(tensor ? *tensor : Tensor()) {}

  explicit operator bool() const { return data_ != nullptr; }
  T* at(int64_t row, int64_t step) const { return data_ + row * batch_stride_ + step * time_stride_; }
  int64_t batch_stride() const { return batch_stride_; }
  int64_t time_stride() const { return time_stride_; }
  int64_t unit_stride() const { return unit_stride_; }

 private:
  T* data_ = nullptr;
  int64_t batch_stride_ = 0, time_stride_ = 0, unit_stride_ = 1;
};

}  // namespace rmem
