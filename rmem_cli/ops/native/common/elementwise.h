// Functions of vectors, and loops that go over numbers a vector at a time.
#pragma once

#include <ATen/cpu/vec/vec.h>

#include <cstdint>

namespace rmem {

template <typename T>
using Vector = at::vec::Vectorized<T>;

// Calls body(first, count) for every vector of `size` numbers; the last may be shorter. Always inlined: rows are
// of a few vectors, beside which a call takes long.
template <typename T, typename Body>
__attribute__((always_inline)) inline void each_vector(int64_t size, Body&& body) {
  constexpr int64_t lanes = Vector<T>::size();
  int64_t first = 0;
  for (; first + lanes <= size; first += lanes) body(first, lanes);
  if (first < size) body(first, size - first);
}

template <typename T>
inline Vector<T> load(const T* place, int64_t count) {
  return count == Vector<T>::size() ? Vector<T>::loadu(place) : Vector<T>::loadu(place, count);
}

template <typename T>
inline void store(const Vector<T>& value, T* place, int64_t count) {
  if (count == Vector<T>::size()) {
    value.store(place);
  } else {
    value.store(place, count);
  }
}

// Of rows so short that a call of the library's would take longer.
template <typename T>
inline void copy(const T* from, int64_t size, T* to) {
  each_vector<T>(size, [&](int64_t first, int64_t count) { store(load(from + first, count), to + first, count); });
}

// to += from
template <typename T>
inline void add(const T* from, T* to, int64_t size) {
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    store(load(to + first, count) + load(from + first, count), to + first, count);
  });
}

// The same where numbers of `from` lie `stride` apart.
template <typename T>
inline void add(const T* from, int64_t stride, T* to, int64_t size) {
  if (stride == 1) return add(from, to, size);
  for (int64_t index = 0; index < size; ++index) to[index] += from[index * stride];
}

// Faster than the exact one, by a few units in the last place; what is not a number stays so.
template <typename V>
inline V exponential(const V& x) {
  return V::blendv(x.exp_u20(), x, x != x);
}

template <typename V>
inline V sigmoid(const V& x) {
  const V one(1);
  return one / (one + exponential(x.neg()));
}

// Of small numbers a series, for the difference from 1 has no digits left of them, which a norm would bring to light.
template <typename V>
inline V tanh(const V& x) {
  const V one(1), two(2), square = x * x;
  V series(-929569. / 638512875);
  for (double coefficient : {21844. / 6081075, -1382. / 155925, 62. / 2835, -17. / 315, 2. / 15, -1. / 3, 1.}) {
    series = at::vec::fmadd(series, square, V(coefficient));
  }
  return V::blendv(one - two / (one + exponential(x + x)), x * series, square < V(0.01));
}

}  // namespace rmem
