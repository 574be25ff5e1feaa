// Products of large matrices, by the library that multiplies them faster. `rmem_cli/ops/product.py` says why, and
// chooses by the same rule.
#pragma once

#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/core/dispatch/Dispatcher.h>

#include <optional>
#include <string_view>

namespace rmem {

// Whether MKL leaves half of this processor's vectors unused, and oneDNN is there to use them.
inline bool mkl_is_narrow() {
#if defined(CPU_CAPABILITY_AVX512)
  return at::hasMKL() && at::hasMKLDNN() && !__builtin_cpu_is("intel");
#else
  return false;
#endif
}

// left [rows, depth] times transpose(right) [columns, depth], in single precision. Part of a larger matrix on the
// right would be read very slowly.
inline at::Tensor multiply_by_onednn(const at::Tensor& left, const at::Tensor& right) {
  using Scalars = c10::List<std::optional<at::Scalar>>;
  using Linear = at::Tensor(const at::Tensor&, const at::Tensor&, const std::optional<at::Tensor>&, std::string_view,
                            Scalars, std::optional<std::string_view>);
  static const auto linear =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Linear>();
  return linear.call(left, right.is_contiguous() || right.t().is_contiguous() ? right : right.clone(), {}, "none", Scalars(), "");
}

// sums += transpose(left) @ right
inline void add_product(const at::Tensor& left, const at::Tensor& right, at::Tensor sums) {
  static const bool narrow = mkl_is_narrow();
  constexpr int64_t least_multiplications = int64_t{1} << 22;
  if (narrow && left.scalar_type() == at::kFloat && left.numel() * right.size(1) >= least_multiplications &&
      at::globalContext().userEnabledMkldnn()) {
    sums.add_(multiply_by_onednn(left.t(), right.t()));
  } else {
    sums.addmm_(left.t(), right);
  }
}

}  // namespace rmem
