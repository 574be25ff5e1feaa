// Zoneout: states of which a share is let through.
#pragma once

#include "common/elementwise.h"

namespace rmem {

// The state after zoneout, which may lie in the place of the new one. Shares of zero and one choose to the bit.
template <typename T>
void let_through(const T* before, const T* now, const T* keep, T* after, int64_t size) {
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const Vector<T> share = load(keep + first, count), rest = Vector<T>(1) - share;
    store(share * load(now + first, count) + rest * load(before + first, count), after + first, count);
  });
}

// From the gradient of the state after zoneout to that of the new one, in place; `rest` is that of the one before.
template <typename T>
void let_through_backward(const T* keep, T* grad, T* rest, int64_t size) {
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const Vector<T> share = load(keep + first, count), whole = load(grad + first, count);
    store(share * whole, grad + first, count);
    store((Vector<T>(1) - share) * whole, rest + first, count);
  });
}

}  // namespace rmem
