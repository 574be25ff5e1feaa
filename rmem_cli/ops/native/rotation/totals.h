// Sums over the numbers of a vector.
#pragma once

#include "common/elementwise.h"

namespace rmem {

// totals[i] = the sum of the numbers of sums[i]
template <int count, typename T>
inline void totals_of(const Vector<T>* sums, T* totals) {
  constexpr int lanes = Vector<T>::size();
  for (int index = 0; index < count; ++index) {
    T numbers[lanes];
    sums[index].store(numbers);
    T total = numbers[0];
    for (int lane = 1; lane < lanes; ++lane) total += numbers[lane];
    totals[index] = total;
  }
}

#if defined(CPU_CAPABILITY_AVX512) || defined(CPU_CAPABILITY_AVX2)

inline __m256 half_of(const Vector<float>& sums) {
#if defined(CPU_CAPABILITY_AVX512)
  return _mm256_add_ps(_mm512_castps512_ps256(sums), _mm512_extractf32x8_ps(sums, 1));
#else
  return sums;
#endif
}

// Four at once cost little more than one.
inline __m128 four_totals(const Vector<float>* sums) {
  const __m256 quarters = _mm256_hadd_ps(_mm256_hadd_ps(half_of(sums[0]), half_of(sums[1])),
                                         _mm256_hadd_ps(half_of(sums[2]), half_of(sums[3])));
  return _mm_add_ps(_mm256_castps256_ps128(quarters), _mm256_extractf128_ps(quarters, 1));
}

template <int count>
inline void totals_of(const Vector<float>* sums, float* totals) {
  constexpr int whole = count / 4 * 4;
  for (int index = 0; index < whole; index += 4) _mm_storeu_ps(totals + index, four_totals(sums + index));
  if constexpr (whole < count) {
    Vector<float> last[4];
    float four[4];
    for (int index = 0; index < 4; ++index)
      last[index] = whole + index < count ? sums[whole + index] : Vector<float>(0);
    _mm_storeu_ps(four, four_totals(last));
    for (int index = whole; index < count; ++index) totals[index] = four[index - whole];
  }
}

#endif

template <typename T>
inline T total_of(const Vector<T>& sum) {
  T total;
  totals_of<1>(&sum, &total);
  return total;
}

}  // namespace rmem
