// Products of large matrices; `rmem_cli/ops/product/dispatch.py` says when they are taken.
#include <ATen/ATen.h>
#include <torch/library.h>

#include <optional>
#include <type_traits>

#include "common/operation.h"
#include "product/large_product.h"

namespace rmem {
namespace {

#define FACTORS(each)                               \
  each(Tensor, left)           /* [rows, depth] */    \
  each(Tensor, right)          /* [depth, columns] */ \
  each(optional<Tensor>, bias) /* for each row: [columns] */
RMEM_RECORD(Factors, FACTORS)

#define PRODUCT(each) each(Tensor, result) /* [rows, columns] */
RMEM_RECORD(Product, PRODUCT)

template <auto value>
using Constant = std::integral_constant<decltype(value), value>;

// With the numbers of each row, or of each column, side by side.
Tensor dense(const Tensor& matrix) {
  return matrix.stride(0) == 1 || matrix.stride(1) == 1 ? matrix : matrix.contiguous();
}

bool is_transposed(const Tensor& matrix) { return matrix.stride(1) != 1; }

template <typename T>
Matrix<const T> stored(const Tensor& matrix) {
  return {matrix.const_data_ptr<T>(), matrix.stride(is_transposed(matrix) ? 1 : 0)};
}

Product product(const Factors& given) {
  const Tensor &left = given.left, &right = given.right;
  const optional<Tensor>& bias = given.bias;
  TORCH_CHECK(left.dim() == 2 && right.dim() == 2 && left.size(1) == right.size(0), "the factors do not fit");
  TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == right.size(1)), "the bias does not fit");
  const Tensor one = dense(left), other = dense(right);
  const optional<Tensor> added = bias ? optional<Tensor>(bias->contiguous()) : std::nullopt;
  const int64_t rows = one.size(0), depth = one.size(1), columns = other.size(1);
  Tensor result = at::empty({rows, columns}, left.options());
  AT_DISPATCH_FLOATING_TYPES(left.scalar_type(), "product", [&] {
    using T = scalar_t;
    const auto multiply = [&](auto side, auto order) {
      multiply_large<T, side.value, order.value>(stored<T>(one), stored<T>(other), rows, columns, depth,
                                                 {result.mutable_data_ptr<T>(), columns},
                                                 {false, added ? added->const_data_ptr<T>() : nullptr});
    };
    const auto with_order = [&](auto side) {
      is_transposed(other) ? multiply(side, Constant<Right::transposed>()) : multiply(side, Constant<Right::plain>());
    };
    is_transposed(one) ? with_order(Constant<Left::transposed>()) : with_order(Constant<Left::plain>());
  });
  return {result};
}

}  // namespace
}  // namespace rmem

TORCH_LIBRARY_FRAGMENT(rmem, library) { rmem::define<&rmem::product>(library, "product"); }
