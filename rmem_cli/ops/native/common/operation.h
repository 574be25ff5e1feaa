// Operations whose arguments and results are declared once, as the members of structs. The rest follows from them: the
// schema that torch is told, and the function of so many arguments that it calls.
#pragma once

#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <cstddef>
#include <optional>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>

namespace rmem {

using at::Tensor;
using std::optional;

// ---------------------------------------------------------------------------------------------------------
// Records: structs whose members can be taken one after the other, by their names

template <typename Record, typename Type>
struct Field {
  const char* name;
  Type Record::*member;
};

template <typename First, typename... Rest>
constexpr auto without_first(const std::tuple<First, Rest...>& all) {
  return std::apply([](const auto&, const auto&... rest) { return std::make_tuple(rest...); }, all);
}

// Declares a struct. `list` is a macro of its members: given `each`, it is `each(type, name)` for every one of them.
#define RMEM_RECORD(Name, list)                                        \
  struct Name {                                                        \
    using Self = Name;                                                 \
    list(RMEM_MEMBER) static constexpr auto fields() {                 \
      return without_first(std::make_tuple(nullptr list(RMEM_FIELD))); \
    }                                                                  \
  };
#define RMEM_MEMBER(type, name) type name;
#define RMEM_FIELD(type, name) , Field<Self, type>{#name, &Self::name}

template <typename Record>
using FieldsOf = decltype(Record::fields());

template <typename Record>
constexpr size_t size_of_record = std::tuple_size_v<FieldsOf<Record>>;

// Calls `body(name, value)` for each member.
template <typename Record, typename Body>
void for_each_field(Record&& record, Body&& body) {
  const auto visit = [&](const auto&... field) { (body(field.name, record.*(field.member)), ...); };
  std::apply(visit, std::decay_t<Record>::fields());
}

// The members of some records, one behind the other.
template <typename... Records>
auto members_of(const Records&... records) {
  const auto of_one = [](const auto& record) {
    const auto tied = [&](const auto&... field) { return std::tie(record.*(field.member)...); };
    return std::apply(tied, std::decay_t<decltype(record)>::fields());
  };
  return std::tuple_cat(of_one(records)...);
}

// The records `Records`, given the members of all of them.
template <typename... Records>
struct RecordsOf;

template <>
struct RecordsOf<> {
  template <size_t, typename Members>
  static std::tuple<> from(const Members&) {
    return {};
  }
};

template <typename First, typename... Rest>
struct RecordsOf<First, Rest...> {
  template <size_t begin = 0, typename Members>
  static std::tuple<First, Rest...> from(const Members& members) {
    constexpr size_t size = size_of_record<First>;
    const auto first = [&]<size_t... index>(std::index_sequence<index...>) {
      return First{std::get<begin + index>(members)...};
    };
    return std::tuple_cat(std::make_tuple(first(std::make_index_sequence<size>())),
                          RecordsOf<Rest...>::template from<begin + size>(members));
  }
};

// ---------------------------------------------------------------------------------------------------------
// Operations

// As schemas call it.
template <typename Type>
constexpr const char* type_name = nullptr;
template <>
constexpr const char* type_name<Tensor> = "Tensor";
template <>
constexpr const char* type_name<optional<Tensor>> = "Tensor?";
template <>
constexpr const char* type_name<bool> = "bool";
template <>
constexpr const char* type_name<int64_t> = "int";
template <>
constexpr const char* type_name<double> = "float";
template <>
constexpr const char* type_name<optional<double>> = "float?";
template <>
constexpr const char* type_name<std::string> = "str";

// As torch hands it to a function.
template <typename Type>
using Passed = std::conditional_t<std::is_trivially_copyable_v<Type>, Type, const Type&>;

// Such as "(Tensor x, bool keeps)".
template <typename... Records>
std::string declared() {
  std::string list;
  const auto add = [&]<typename Record, typename Type>(const Field<Record, Type>& field) {
    list += (list.empty() ? "" : ", ") + std::string(type_name<Type>) + " " + field.name;
  };
  const auto add_all = [&](const auto&... field) { (add(field), ...); };
  std::apply(add_all, std::tuple_cat(Records::fields()...));
  return "(" + list + ")";
}

// What torch sees of a function `Results name(const Records&... arguments)`: one that takes the members of all arguments
// and returns those of the results.
template <auto function, typename = std::decay_t<decltype(function)>>
struct Operation;

template <auto function, typename Result, typename... Records>
struct Operation<function, Result (*)(const Records&...)> {
  using Results = Result;
  using Arguments = std::tuple<Records...>;

  // Of the fields of arguments and results.
  template <typename, typename>
  struct Flat;
  template <typename... Givers, typename... Given, typename... Returned>
  struct Flat<std::tuple<Field<Givers, Given>...>, std::tuple<Field<Result, Returned>...>> {
    using Values = std::tuple<Returned...>;
    using Signature = Values(Passed<Given>...);

    static Values compute(Passed<Given>... arguments) {
      return members_of(std::apply(function, arguments_of(arguments...)));
    }
    static Arguments arguments_of(Passed<Given>... arguments) {
      return RecordsOf<Records...>::from(std::tie(arguments...));
    }
  };
  using Seen = Flat<decltype(std::tuple_cat(Records::fields()...)), FieldsOf<Result>>;

  static std::string schema(const std::string& name) { return name + declared<Records...>() + " -> " + declared<Result>(); }

  // By way of torch's dispatcher; the name is the same each time.
  static Result call(const char* name, const Records&... records) {
    static const auto found = c10::Dispatcher::singleton()
                                  .findSchemaOrThrow(("rmem::" + std::string(name)).c_str(), "")
                                  .template typed<typename Seen::Signature>();
    const auto through = [&](const auto&... arguments) { return found.call(arguments...); };
    return std::get<0>(RecordsOf<Result>::from(std::apply(through, members_of(records...))));
  }
};

// Tells torch of an operation, and that `function` computes it on the CPU.
template <auto function>
void define(torch::Library& library, const std::string& name) {
  library.def(Operation<function>::schema(name).c_str());
  library.impl(name.c_str(), c10::DispatchKey::CPU, &Operation<function>::Seen::compute);
}

}  // namespace rmem
