// Operations with a gradient that is another operation. Both meet here and not in Python, where that would take as long
// as a short sequence itself.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
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

// What is kept for a backward pass besides tensors: which arguments a gradient is asked for, and records without theirs.
// As one object, as torch looks up each value by its name.
template <typename... Records>
struct Rest : torch::CustomClassHolder {
  std::vector<bool> differentiated;
  std::tuple<Records...> records;
};

template <typename... Records, typename Body>
void for_each_tensor(std::tuple<Records...>& records, Body&& body) {
  const auto of_tensors = [&](const char*, auto& member) {
    if constexpr (is_tensor<std::decay_t<decltype(member)>>) body(member);
  };
  std::apply([&](auto&... record) { (for_each_field(record, of_tensors), ...); }, records);
}

template <typename... Records>
void save(Context* context, std::vector<bool> differentiated, std::tuple<Records...> records) {
  Variables tensors;
  for_each_tensor(records, [&](auto& member) {
    tensors.push_back(optional<Tensor>(std::exchange(member, {})).value_or(Tensor()));
  });
  context->save_for_backward(std::move(tensors));
  auto rest = c10::make_intrusive<Rest<Records...>>();
  rest->differentiated = std::move(differentiated);
  rest->records = std::move(records);
  context->saved_data["rest"] = c10::IValue::make_capsule(std::move(rest));
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
  using ResultGradients = std::tuple_element_t<0, typename Backward::Arguments>;

  template <typename>
  struct RestOfArguments;
  template <typename First, typename... Saved>
  struct RestOfArguments<std::tuple<First, Saved...>> {
    using Type = Rest<Saved...>;
  };

 public:
  template <typename... Members>
  static Variables forward(Context* context, const Members&... members) {
    const at::AutoDispatchBelowADInplaceOrView below;
    const auto with_arguments = [&](const auto&... arguments) {
      const Results results = Forward::call(Family::name, arguments...);
      save(context, {wants_gradient(members)...}, Family::saved(results, arguments...));
      context->mark_non_differentiable(Family::constant(results, arguments...));
      return variables_of(results);
    };
    // Zeros in the place of a gradient that nobody gave would be as large as the sequence.
    context->set_materialize_grads(false);
    return std::apply(with_arguments, Forward::Seen::arguments_of(members...));
  }

  static Variables backward(Context* context, const Variables& grads) {
    const auto capsule = context->saved_data["rest"].toCapsule();
    const auto& rest = static_cast<const typename RestOfArguments<typename Backward::Arguments>::Type&>(*capsule);
    Variables gradients(rest.differentiated.size());
    const auto is_defined = [](const Tensor& gradient) { return gradient.defined(); };
    if (std::none_of(grads.begin(), grads.begin() + size_of_record<ResultGradients>, is_defined)) return gradients;
    auto records = rest.records;
    const Variables tensors = context->get_saved_variables();
    auto next = tensors.begin();
    for_each_tensor(records, [&](auto& member) { read_from(*next++, member); });
    const RecordIfAsked recording;
    const auto compute = [&](const auto&... saved) {
      return Backward::call(backward_name(), record_of<ResultGradients>(grads), saved...);
    };
    const Variables computed = variables_of(std::apply(compute, records));
    static const std::vector<size_t> places = places_of_gradients();
    for (size_t index = 0; index < computed.size(); ++index)
      if (rest.differentiated[places[index]]) gradients[places[index]] = computed[index];
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
