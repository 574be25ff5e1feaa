// What the operands of an operation must be, before their numbers are read.
#pragma once

#include <ATen/ATen.h>

#include <optional>

namespace rmem {

inline void check_sizes(const char* name, const std::optional<at::Tensor>& tensor, at::IntArrayRef sizes) {
  if (!tensor) return;
  TORCH_CHECK(tensor->sizes() == sizes, "the sizes of the ", name, " are ", tensor->sizes(), "; here they must be ",
              sizes);
}

inline void check_contiguous(at::ArrayRef<at::Tensor> tensors) {
  for (const at::Tensor& tensor : tensors) TORCH_CHECK(tensor.is_contiguous(), "a tensor is not contiguous");
}

}  // namespace rmem
