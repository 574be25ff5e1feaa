// What the gradients of operations share. They are found here and not in Python, where that would take as long as a
// short sequence itself.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/csrc/autograd/custom_function.h>

#include <optional>
#include <type_traits>

namespace rmem {

using Context = torch::autograd::AutogradContext;
using Variables = torch::autograd::variable_list;

// The operation, by way of torch's dispatcher, that this function computes on the CPU.
template <auto function>
const auto& operation(const char* name) {
  using Signature = std::remove_pointer_t<decltype(function)>;
  static const auto found = c10::Dispatcher::singleton().findSchemaOrThrow(name, "").typed<Signature>();
  return found;
}

// While it lives in a backward pass, what is computed is recorded only for whoever asks for the graph of that pass.
class RecordIfAsked {
 public:
  RecordIfAsked() {
    if (!at::GradMode::is_enabled()) below_.emplace();
  }

 private:
  std::optional<at::AutoDispatchBelowADInplaceOrView> below_;
};

// A saved tensor or a gradient, where there is one.
inline std::optional<at::Tensor> present(const at::Tensor& tensor) {
  return tensor.defined() ? std::optional<at::Tensor>(tensor) : std::nullopt;
}

inline bool wants_gradient(const std::optional<at::Tensor>& tensor) { return tensor && tensor->requires_grad(); }

}  // namespace rmem
