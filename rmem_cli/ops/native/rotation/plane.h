// The plane of a rotation, the gradient of what it is made from, and sequences of rotations of one vector.
//
// ops/rotation/README.md derives the formulas, ops/rotation/rotate.py has them for tensors. Rows that belong to
// planes are padded with zeros to whole vectors.
#pragma once

#include "common/elementwise.h"
#include "rotation/totals.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>

namespace rmem {

// Numbers that a padded row of `size` takes.
template <typename T>
constexpr int64_t padded(int64_t size) {
  constexpr int64_t lanes = Vector<T>::size();
  return (size + lanes - 1) / lanes * lanes;
}

// The rotation I + u p' + w q' from the direction of x to that of y; p = versine u - w, q = u + k w.
template <typename T>
struct Plane {
  T *u, *w;
  T cosine, versine, k;
  T square;             // of the length of w
  T x_scale, y_scale;   // 1 / length; zero where there is no direction
  bool zero, opposite;  // nothing is turned; w is a fixed direction

  // Cosine of the angle that is turned by: one where the vectors are zero.
  T turning() const { return versine + 1; }
};

// Gradient of a plane, but for what its numbers depend on.
template <typename T>
struct PlaneGradient {
  T *u, *w;
  T versine, k;
};

// Length at which what is left of one unit vector orthogonal to another is rounding.
template <typename T>
constexpr T negligible = 16 * std::numeric_limits<T>::epsilon();

template <typename T>
T dot(const T* a, const T* b, int64_t size) {
  Vector<T> sum(0);
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    sum = at::vec::fmadd(load(a + first, count), load(b + first, count), sum);
  });
  return total_of(sum);
}

// A unit vector orthogonal to u, from the axis that u is least aligned with; zero if u has but one.
template <typename T>
void fixed_orthogonal(const T* u, int64_t size, T* v) {
  int64_t axis = 0;
  for (int64_t unit = 1; unit < size; ++unit)
    if (std::abs(u[unit]) < std::abs(u[axis])) axis = unit;
  const T along = u[axis];
  for (int64_t unit = 0; unit < size; ++unit) v[unit] = (unit == axis ? T(1) : T(0)) - along * u[unit];
  const T length = std::sqrt(dot(v, v, size)), scale = length <= negligible<T> ? T(0) : T(1) / length;
  for (int64_t unit = 0; unit < size; ++unit) v[unit] *= scale;
}

// Sets all of a plane but its places.
template <typename T>
void set_plane(const T* x, const T* y, int64_t size, T eps, Plane<T>& plane) {
  using V = Vector<T>;
  V squares[2] = {V(0), V(0)};
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const V x_part = load(x + first, count), y_part = load(y + first, count);
    squares[0] = at::vec::fmadd(x_part, x_part, squares[0]);
    squares[1] = at::vec::fmadd(y_part, y_part, squares[1]);
  });
  T lengths[2];
  totals_of<2>(squares, lengths);
  const T x_length = std::sqrt(lengths[0]), y_length = std::sqrt(lengths[1]);
  // So written that a length which is no number is passed on.
  plane.zero = !(x_length > eps) || y_length <= eps;
  plane.x_scale = x_length <= eps ? T(0) : T(1) / x_length;
  plane.y_scale = plane.zero ? T(0) : T(1) / y_length;

  V sum(0);
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const V u = load(x + first, count) * V(plane.x_scale), y_unit = load(y + first, count) * V(plane.y_scale);
    u.store(plane.u + first);
    y_unit.store(plane.w + first);
    sum = at::vec::fmadd(u, y_unit, sum);
  });
  plane.cosine = total_of(sum);
  // Taken away twice: once leaves rounding along u where little else is left.
  T along = plane.cosine;
  for (int repeat = 0; repeat < 2; ++repeat) {
    V along_u(0), square(0);
    for (int64_t first = 0; first < size; first += V::size()) {
      const V u = V::loadu(plane.u + first);
      const V w = at::vec::fnmadd(V(along), u, V::loadu(plane.w + first));
      w.store(plane.w + first);
      along_u = at::vec::fmadd(w, u, along_u);
      square = at::vec::fmadd(w, w, square);
    }
    along = total_of(along_u);
    plane.square = total_of(square);
  }
  const bool obtuse = plane.cosine < 0;
  plane.opposite = obtuse && plane.square <= negligible<T> * negligible<T>;
  if (plane.opposite) {
    fixed_orthogonal(plane.u, size, plane.w);
    for (int64_t unit = 0; unit < size; ++unit) plane.w[unit] *= negligible<T>;
    plane.square = negligible<T> * negligible<T>;
  }
  plane.versine = plane.zero ? T(0) : plane.cosine - 1;
  plane.k = obtuse ? plane.versine / plane.square : T(1) / (-1 - plane.cosine);
}

// From the gradient of a plane (overwritten) to those of its x, added, and its y, set.
template <typename T>
void plane_backward(const Plane<T>& plane, const T* y, int64_t size, PlaneGradient<T>& grad, T* x_grad, T* y_grad) {
  using V = Vector<T>;
  // Where the vectors are opposite, w and k are constants.
  T cosine_grad = plane.zero ? T(0) : grad.versine;
  if (plane.opposite) {
    std::fill(grad.w, grad.w + size, T(0));
  } else {
    cosine_grad += grad.k * plane.k * plane.k - dot(plane.u, grad.w, size);
  }
  V sums[2] = {V(0), V(0)};
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const V u = V::loadu(plane.u + first), w_grad = load(grad.w + first, count);
    const V y_unit = load(y + first, count) * V(plane.y_scale);
    const V u_grad = load(grad.u + first, count) + V(cosine_grad) * y_unit - V(plane.cosine) * w_grad;
    const V y_unit_grad = at::vec::fmadd(V(cosine_grad), u, w_grad);
    store(u_grad, grad.u + first, count);
    store(y_unit_grad, grad.w + first, count);
    sums[0] = at::vec::fmadd(u, u_grad, sums[0]);
    sums[1] = at::vec::fmadd(y_unit, y_unit_grad, sums[1]);
  });
  T along[2];
  totals_of<2>(sums, along);
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const V u = V::loadu(plane.u + first), y_unit = load(y + first, count) * V(plane.y_scale);
    const V u_grad = load(grad.u + first, count), y_unit_grad = load(grad.w + first, count);
    const V to_x = (u_grad - V(along[0]) * u) * V(plane.x_scale);
    store(load(x_grad + first, count) + to_x, x_grad + first, count);
    store((y_unit_grad - V(along[1]) * y_unit) * V(plane.y_scale), y_grad + first, count);
  });
}

// ---------------------------------------------------------------------------------------------------------
// Sequences of rotations, whose planes lie one behind the other. Each pass over the vectors applies one rotation, takes
// the dot products that the next one needs, and fetches the plane after that: a long sequence does not fit the caches.

// Fetches what a later pass reads, `apart` numbers on.
template <typename T>
inline void fetch(const T* row, int64_t apart) {
  __builtin_prefetch(row + apart);
}

// dots[2 i], dots[2 i + 1] = vectors[i] . u, vectors[i] . w
template <int count, typename T>
void plane_dots(const Plane<T>& plane, T* const* vectors, int64_t size, T* dots) {
  using V = Vector<T>;
  V sums[2 * count];
  for (V& sum : sums) sum = V(0);
  for (int64_t first = 0; first < size; first += V::size()) {
    const V u = V::loadu(plane.u + first), w = V::loadu(plane.w + first);
    for (int index = 0; index < count; ++index) {
      const V part = V::loadu(vectors[index] + first);
      sums[2 * index] = at::vec::fmadd(part, u, sums[2 * index]);
      sums[2 * index + 1] = at::vec::fmadd(part, w, sums[2 * index + 1]);
    }
  }
  totals_of<2 * count>(sums, dots);
}

template <int count, bool more, typename T>
void turn_once(const Plane<T>& plane, const Plane<T>* next, T* const* vectors, int64_t size, T* dots) {
  using V = Vector<T>;
  // Several vectors keep the processor busy; of one, every other part has sums of its own.
  constexpr int ways = count == 1 ? 2 : 1;
  V along_u[count], along_w[count], sums[ways][2 * count];
  // Copies, which no store of numbers can be suspected to change.
  const T *u_row = plane.u, *w_row = plane.w, *next_u_row = more ? next->u : nullptr;
  const T* next_w_row = more ? next->w : nullptr;
  T* rows[count];
  std::copy_n(vectors, count, rows);
  for (int index = 0; index < count; ++index) {
    const T to_u = dots[2 * index], to_w = dots[2 * index + 1];
    along_u[index] = V(plane.versine * to_u - to_w);
    along_w[index] = V(to_u + plane.k * to_w);
  }
  for (auto& way : sums)
    for (V& sum : way) sum = V(0);
  const auto part = [&](int64_t first, V* way) __attribute__((always_inline)) {
    const V u = V::loadu(u_row + first), w = V::loadu(w_row + first);
    V next_u(0), next_w(0);
    if constexpr (more) {
      next_u = V::loadu(next_u_row + first), next_w = V::loadu(next_w_row + first);
      fetch(next_u_row + first, -2 * size);
      fetch(next_w_row + first, -2 * size);
    }
    for (int index = 0; index < count; ++index) {
      const V before = V::loadu(rows[index] + first);
      const V after = at::vec::fmadd(u, along_u[index], at::vec::fmadd(w, along_w[index], before));
      after.store(rows[index] + first);
      if constexpr (more) {
        way[2 * index] = at::vec::fmadd(after, next_u, way[2 * index]);
        way[2 * index + 1] = at::vec::fmadd(after, next_w, way[2 * index + 1]);
      }
    }
  };
  int64_t first = 0;
  if constexpr (ways == 2) {
    for (; first + 2 * V::size() <= size; first += 2 * V::size()) {
      part(first, sums[0]);
      part(first + V::size(), sums[ways - 1]);
    }
  }
  for (; first < size; first += V::size()) part(first, sums[0]);
  if constexpr (more) {
    if constexpr (ways == 2)
      for (int index = 0; index < 2 * count; ++index) sums[0][index] = sums[0][index] + sums[ways - 1][index];
    totals_of<2 * count>(sums[0], dots);
  }
}

// vectors <- P_first ... P_last vectors, in place
template <int count, typename T>
void turn(const Plane<T>* planes, int64_t first, int64_t last, T* const* vectors, int64_t size) {
  T dots[2 * count];
  plane_dots<count>(planes[last], vectors, size, dots);
  for (int64_t index = last; index > first; --index)
    turn_once<count, true>(planes[index], planes + index - 1, vectors, size, dots);
  turn_once<count, false, T>(planes[first], nullptr, vectors, size, dots);
}

template <bool more, typename T>
void turn_back_once(const Plane<T>& plane, const Plane<T>* next, PlaneGradient<T>& plane_grad, T* vector, T* grad,
                    int64_t size, T* dots) {
  using V = Vector<T>;
  // Along u and w: of the vector before it was turned, and of the gradient of what it was turned to.
  const T to_u = plane.turning() * dots[0] + dots[1], to_w = plane.turning() * dots[1] - plane.square * dots[0];
  const T grad_u = dots[2], grad_w = dots[3];
  plane_grad.versine += to_u * grad_u;
  plane_grad.k += to_w * grad_w;
  const V vector_u(plane.versine * dots[0] + dots[1]), vector_w(plane.k * dots[1] - dots[0]);
  const V back_u(plane.versine * grad_u + grad_w), back_w(plane.k * grad_w - grad_u);
  const V along_u(plane.versine * to_u - to_w), along_w(to_u + plane.k * to_w);
  const T *u_row = plane.u, *w_row = plane.w, *next_u_row = more ? next->u : nullptr;
  const T* next_w_row = more ? next->w : nullptr;
  T *u_grad_row = plane_grad.u, *w_grad_row = plane_grad.w;
  V sums[4] = {V(0), V(0), V(0), V(0)};
  for (int64_t first = 0; first < size; first += V::size()) {
    const V u = V::loadu(u_row + first), w = V::loadu(w_row + first);
    const V turned_grad = V::loadu(grad + first);
    if constexpr (more) {
      fetch(next_u_row + first, 2 * size);
      fetch(next_w_row + first, 2 * size);
      fetch(u_grad_row + first, 2 * size);
      fetch(w_grad_row + first, 2 * size);
    }
    const V before = at::vec::fmadd(u, vector_u, at::vec::fmadd(w, vector_w, V::loadu(vector + first)));
    const V before_grad = at::vec::fmadd(u, back_u, at::vec::fmadd(w, back_w, turned_grad));
    const V u_grad = at::vec::fmadd(along_u, turned_grad, V::loadu(u_grad_row + first));
    const V w_grad = at::vec::fmadd(along_w, turned_grad, V::loadu(w_grad_row + first));
    at::vec::fmadd(back_u, before, u_grad).store(u_grad_row + first);
    at::vec::fmadd(back_w, before, w_grad).store(w_grad_row + first);
    before.store(vector + first);
    before_grad.store(grad + first);
    if constexpr (more) {
      const V next_u = V::loadu(next_u_row + first), next_w = V::loadu(next_w_row + first);
      sums[0] = at::vec::fmadd(before, next_u, sums[0]);
      sums[1] = at::vec::fmadd(before, next_w, sums[1]);
      sums[2] = at::vec::fmadd(before_grad, next_u, sums[2]);
      sums[3] = at::vec::fmadd(before_grad, next_w, sums[3]);
    }
  }
  if constexpr (more) totals_of<4>(sums, dots);
}

// A vector and its gradient, which go back through the planes of a sequence.
template <typename T>
struct TurnedBack {
  const Plane<T>* planes;
  PlaneGradient<T>* plane_grads;
  T *vector, *grad;
};

// Undoes `turn` of a vector of each of some sequences, up to their plane `last`, in place, while its gradient goes the
// same way; adds to those of the planes. The sequences take turns: each has to wait for the sums of its last pass.
template <int64_t most, typename T>
void turn_back(const TurnedBack<T>* sequences, int64_t count, int64_t last, int64_t size) {
  T dots[most][4];
  for (int64_t each = 0; each < count; ++each) {
    T* const vectors[2] = {sequences[each].vector, sequences[each].grad};
    plane_dots<2>(sequences[each].planes[0], vectors, size, dots[each]);
  }
  const auto once = [&](int64_t index, auto more) {
    for (int64_t each = 0; each < count; ++each) {
      const auto& [planes, plane_grads, vector, grad] = sequences[each];
      turn_back_once<more.value>(planes[index], planes + index + 1, plane_grads[index], vector, grad, size, dots[each]);
    }
  };
  for (int64_t index = 0; index < last; ++index) once(index, std::true_type{});
  once(last, std::false_type{});
}

}  // namespace rmem
