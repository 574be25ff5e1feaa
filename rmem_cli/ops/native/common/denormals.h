// Numbers near the smallest of their type, which vanishing gradients are full of, cost a hundred times as much.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

namespace rmem {

// While it lives, this thread takes such numbers for zero.
class FlushDenormals {
 public:
#if defined(__SSE2__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | flush_to_zero | denormals_are_zero); }
  ~FlushDenormals() { _mm_setcsr(before_); }

 private:
  static constexpr unsigned flush_to_zero = 0x8000;
  static constexpr unsigned denormals_are_zero = 0x0040;
  unsigned before_;
#endif
};

}  // namespace rmem
