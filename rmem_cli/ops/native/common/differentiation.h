// Operations with a gradient that is another operation. Both meet here and not in Python, where that would take as long
// as a short sequence itself.
#pragma once

#include <ATen/ATen.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <vector>

#include "common/operation.h"

namespace rmem {

using Context = torch::autograd::AutogradContext;
using Variables = torch::autograd::variable_list;

// While it lives in a backward pass, what is computed is recorded only for whoever asks for the graph of that pass.
class RecordIfAsked {
 public:
  RecordIfAsked() {
    if (!at::GradMode::is_enabled()) below_.emplace();
  }

 private:
  std::optional<at::AutoDispatchBelowADInplaceOrView> below_;
};

// Whether a gradient of an argument is asked for; never of what is no tensor.
template <typename Type>
bool wants_gradient(const Type& argument) {
  if constexpr (std::is_same_v<Type, Tensor>) return argument.requires_grad();
  if constexpr (std::is_same_v<Type, optional<Tensor>>) return argument && argument->requires_grad();
  return false;
}

template <typename Type>
constexpr bool is_tensor = std::is_same_v<Type, Tensor> || std::is_same_v<Type, optional<Tensor>>;

inline void read_from(const Tensor& variable, Tensor& member) { member = variable; }
inline void read_from(const Tensor& variable, optional<Tensor>& member) {
  member = variable.defined() ? optional<Tensor>(variable) : std::nullopt;
}

// A record of tensors that stand at the beginning of a list, and are undefined where there are none.
template <typename Record>
Record record_of(const Variables& variables) {
  Record record{};
  auto next = variables.begin();
  for_each_field(record, [&](const char*, auto& member) { read_from(*next++, member); });
  return record;
}

template <typename Record>
Variables variables_of(const Record& record) {
  return std::apply([](const auto&... members) { return Variables{members...}; }, members_of(record));
}

// Keeps records for the backward pass.
template <typename... Records>
void save(Context* context, const Records&... records) {
  Variables tensors;
  const auto keep = [&](const char* name, const auto& member) {
    using Type = std::decay_t<decltype(member)>;
    if constexpr (std::is_same_v<Type, Tensor>)
      tensors.push_back(member);
    else if constexpr (is_tensor<Type>)
      tensors.push_back(member.value_or(Tensor()));
    else
      context->saved_data[name] = member;
  };
  (for_each_field(records, keep), ...);
  context->save_for_backward(std::move(tensors));
}

// Reads what was kept.
template <typename... Records>
void restore(Context* context, Records&... records) {
  const Variables tensors = context->get_saved_variables();
  auto next = tensors.begin();
  const auto read = [&](const char* name, auto& member) {
    using Type = std::decay_t<decltype(member)>;
    if constexpr (is_tensor<Type>)
      read_from(*next++, member);
    else
      member = context->saved_data[name].template to<Type>();
  };
  (for_each_field(records, read), ...);
}

// An operation of a family that says
//
//   name, forward, backward   what the operation is called, and which functions compute it and its gradient
//   saved(results, arguments...)      all arguments of the gradient behind the first, as a tuple
//   constant(results, arguments...)   those of the results that nobody can differentiate
//
// The first argument of the gradient is a record of the gradients of the first results; its results are called as the
// arguments of the operation that they are the gradients of.
template <typename Family>
class Differentiable : public torch::autograd::Function<Differentiable<Family>> {
  using Forward = Operation<Family::forward>;
  using Backward = Operation<Family::backward>;
  using Results = typename Forward::Results;

 public:
  template <typename... Members>
  static Variables forward(Context* context, const Members&... members) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto with_arguments = [&](const auto&... arguments) {
      const Results results = Forward::call(Family::name, arguments...);
      std::apply([&](const auto&... records) { save(context, records...); }, Family::saved(results, arguments...));
      context->mark_non_differentiable(Family::constant(results, arguments...));
      return variables_of(results);
    };
    context->saved_data["differentiated"] = std::vector<bool>{wants_gradient(members)...};
    // Zeros in the place of a gradient that nobody gave would be as large as the sequence.
    context->set_materialize_grads(false);
    return std::apply(with_arguments, Forward::Seen::arguments_of(members...));
  }

  static Variables backward(Context* context, const Variables& grads) {
    const auto differentiated = context->saved_data["differentiated"].template to<std::vector<bool>>();
    typename Backward::Arguments arguments{};
    const auto compute = [&](auto& of_results, auto&... saved) {
      of_results = record_of<std::decay_t<decltype(of_results)>>(grads);
      restore(context, saved...);
      const RecordIfAsked recording;
      return Backward::call(backward_name(), of_results, saved...);
    };
    Variables gradients(differentiated.size());
    constexpr size_t given = size_of_record<std::tuple_element_t<0, typename Backward::Arguments>>;
    const auto is_defined = [](const Tensor& gradient) { return gradient.defined(); };
    if (std::none_of(grads.begin(), grads.begin() + given, is_defined)) return gradients;
    static const std::vector<size_t> places = places_of_gradients();
    const Variables computed = variables_of(std::apply(compute, arguments));
    for (size_t index = 0; index < computed.size(); ++index)
      if (differentiated[places[index]]) gradients[places[index]] = computed[index];
    return gradients;
  }

  // Tells torch of the operation and of its gradient, and of how they belong together.
  static void define(torch::Library& library) {
    rmem::define<Family::forward>(library, Family::name);
    rmem::define<Family::backward>(library, backward_name());
    library.impl(Family::name, c10::DispatchKey::Autograd, &Recorded<typename Forward::Seen::Signature>::compute);
  }

 private:
  template <typename>
  struct Recorded;
  template <typename Values, typename... Given>
  struct Recorded<Values(Given...)> {
    static Values compute(Given... arguments) {
      return members_of(record_of<Results>(Differentiable::apply(arguments...)));
    }
  };

  static const char* backward_name() {
    static const std::string name = std::string(Family::name) + "_backward";
    return name.c_str();
  }

  // Of each gradient, the place among the arguments of what it is the gradient of.
  static std::vector<size_t> places_of_gradients() {
    std::vector<std::string> names;
    const auto of_records = [&](const auto&... records) {
      (for_each_field(records, [&](const char* name, const auto&) { names.push_back(name); }), ...);
    };
    std::apply(of_records, typename Forward::Arguments{});
    std::vector<size_t> places;
    for_each_field(typename Backward::Results{}, [&](const char* name, const auto&) {
      const auto found = std::find(names.begin(), names.end(), name);
      TORCH_INTERNAL_ASSERT(found != names.end(), "no argument is called ", name);
      places.push_back(found - names.begin());
    });
    return places;
  }
};

}  // namespace rmem
