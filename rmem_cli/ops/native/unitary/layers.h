// Layers that turn pairs of units, applied to a few rows of a batch at once.
#pragma once

#include <ATen/ATen.h>

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "common/elementwise.h"

namespace rmem {

// Exchanges the numbers of a vector that stand `distance` apart, a power of two.
template <typename T>
class Exchange {
 public:
  explicit Exchange(int64_t distance) {
    for (int64_t lane = 0; lane < lanes; ++lane) from_[lane] = lane ^ distance;
  }

  Vector<T> operator()(const Vector<T>& x) const {
    T numbers[lanes], exchanged[lanes];
    x.store(numbers);
    for (int64_t lane = 0; lane < lanes; ++lane) exchanged[lane] = numbers[from_[lane]];
    return Vector<T>::loadu(exchanged);
  }

 private:
  static constexpr int64_t lanes = Vector<T>::size();
  int64_t from_[lanes];
};

#if defined(CPU_CAPABILITY_AVX512)

template <>
class Exchange<float> {
 public:
  explicit Exchange(int64_t distance)
      : from_(_mm512_xor_si512(_mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
                               _mm512_set1_epi32(static_cast<int>(distance)))) {}
  Vector<float> operator()(const Vector<float>& x) const { return _mm512_permutexvar_ps(from_, x); }

 private:
  __m512i from_;
};

template <>
class Exchange<double> {
 public:
  explicit Exchange(int64_t distance)
      : from_(_mm512_xor_si512(_mm512_set_epi64(7, 6, 5, 4, 3, 2, 1, 0), _mm512_set1_epi64(distance))) {}
  Vector<double> operator()(const Vector<double>& x) const { return _mm512_permutexvar_pd(from_, x); }

 private:
  __m512i from_;
};

#elif defined(CPU_CAPABILITY_AVX2)

template <>
class Exchange<float> {
 public:
  explicit Exchange(int64_t distance)
      : from_(_mm256_xor_si256(_mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0),
                               _mm256_set1_epi32(static_cast<int>(distance)))) {}
  Vector<float> operator()(const Vector<float>& x) const { return _mm256_permutevar8x32_ps(x, from_); }

 private:
  __m256i from_;
};

#endif

// Rows of a batch that are worked on together: each coefficient is loaded once for all of them.
constexpr int64_t group_rows = 4;

// The layers of a matrix. Numbers of a row stand in lines, one for each plane (real and imaginary parts), padded with
// zeros to a width at which no vector ends beyond.
template <typename T>
class Layers {
 public:
  // `own`, `other` [layers, units]; `rotors`, cosines and sines of the phases before each layer and after the last,
  // [layers + 1, 2, units], of a complex matrix. All contiguous.
  Layers(const at::Tensor& own, const at::Tensor& other, const std::optional<at::Tensor>& rotors, bool fft)
      : units(own.size(1)), width((units + lanes - 1) / lanes * lanes + lanes), planes(rotors ? 2 : 1) {
    const int64_t layers = own.size(0);
    for (int64_t layer = 0; layer < layers; ++layer) {
      if (rotors) stages_.push_back({true, 0, 0, layer});
      const int64_t distance = fft ? int64_t{1} << (layers - 1 - layer) : 1;
      stages_.push_back({false, fft ? 0 : layer % 2, distance, layer});
    }
    if (rotors) stages_.push_back({true, 0, 0, layers});
    numbers_ = at::zeros({stages(), 2, width}, own.options());
    T* to = numbers_.mutable_data_ptr<T>();
    for (const Stage& stage : stages_) {
      const T* first = stage.phase ? rotors->const_data_ptr<T>() + 2 * stage.layer * units
                                   : own.const_data_ptr<T>() + stage.layer * units;
      const T* second = stage.phase ? first + units : other.const_data_ptr<T>() + stage.layer * units;
      copy(first, units, to);
      copy(second, units, to + width);
      to += 2 * width;
    }
  }

  const int64_t units, width, planes;

  int64_t stages() const { return stages_.size(); }
  int64_t lines(int64_t rows) const { return rows * planes; }
  // Of the lines of a group.
  int64_t group_size() const { return lines(group_rows) * width; }
  // Of the sums of a group's gradients.
  int64_t sums_size() const { return stages() * 2 * width; }

  // Puts rows into lines. A state of two planes has them one behind the other.
  void take_in(const T* rows, int64_t count, T* lines_of) const {
    for (int64_t line = 0; line < lines(count); ++line, rows += units, lines_of += width) {
      copy(rows, units, lines_of);
      std::fill(lines_of + units, lines_of + width, T(0));
    }
  }

  // Adds what stands in lines to rows.
  void add_to(const T* lines_of, int64_t count, T* rows) const {
    for (int64_t line = 0; line < lines(count); ++line, rows += units, lines_of += width) add(lines_of, rows, units);
  }

  // All layers, in place.
  void forward(T* x, int64_t rows) const {
    for (int64_t stage = 0; stage < stages(); ++stage) apply(stage, x, x, lines(rows));
  }

  // The same, with what each stage is given: `states` [stages + 1, group], the first of which is filled.
  void forward_kept(T* states, int64_t rows) const {
    for (int64_t stage = 0; stage < stages(); ++stage, states += group_size())
      apply(stage, states, states + group_size(), lines(rows));
  }

  // From the gradient of what the layers gave to that of what they were given, in place; adds to the sums of the
  // gradients of all coefficients, [stages, 2, width].
  void backward(const T* states, T* grad, T* sums, int64_t rows) const {
    for (int64_t stage = stages() - 1; stage >= 0; --stage)
      take_back(stage, states + stage * group_size(), grad, sums + stage * 2 * width, lines(rows));
  }

  // The gradients in the places of `own`, `other` and `rotors`.
  void give_out(const T* sums, T* own, T* other, T* rotors) const {
    for (const Stage& stage : stages_) {
      T* first = stage.phase ? rotors + 2 * stage.layer * units : own + stage.layer * units;
      copy(sums, units, first);
      copy(sums + width, units, stage.phase ? first + units : other + stage.layer * units);
      sums += 2 * width;
    }
  }

 private:
  static constexpr int64_t lanes = Vector<T>::size();
  using V = Vector<T>;

  // Rotations of pairs of units, or phases of all, between the planes.
  struct Stage {
    bool phase;
    int64_t start, distance, layer;
  };

  const T* coefficients(int64_t stage) const { return numbers_.template const_data_ptr<T>() + stage * 2 * width; }

  void apply(int64_t index, const T* x, T* y, int64_t count) const {
    const Stage& stage = stages_[index];
    const T *first = coefficients(index), *second = first + width;
    if (stage.phase) {
      each_block(0, [&](int64_t at) {
        const V cosine = V::loadu(first + at), sine = V::loadu(second + at);
        for (int64_t line = 0; line < count; line += 2) {
          const int64_t re = line * width + at, im = re + width;
          const V real = V::loadu(x + re), imaginary = V::loadu(x + im);
          (cosine * real - sine * imaginary).store(y + re);
          (sine * real + cosine * imaginary).store(y + im);
        }
      });
    } else if (stage.distance < lanes) {
      const Exchange<T> exchanged(stage.distance);
      if (stage.start)
        for (int64_t line = 0; line < count; ++line) y[line * width] = first[0] * x[line * width];
      each_block(stage.start, [&](int64_t at) {
        const V own = V::loadu(first + at), other = V::loadu(second + at);
        for (int64_t place = at; place < count * width; place += width) {
          const V value = V::loadu(x + place);
          at::vec::fmadd(own, value, other * exchanged(value)).store(y + place);
        }
      });
    } else {
      each_pair(stage.distance, [&](int64_t at, int64_t partner) {
        const V own = V::loadu(first + at), other = V::loadu(second + at);
        if (partner < 0) {
          for (int64_t place = at; place < count * width; place += width) (own * V::loadu(x + place)).store(y + place);
          return;
        }
        const V its_own = V::loadu(first + partner), its_other = V::loadu(second + partner);
        for (int64_t place = at; place < count * width; place += width) {
          const int64_t its_place = place + partner - at;
          const V one = V::loadu(x + place), two = V::loadu(x + its_place);
          at::vec::fmadd(own, one, other * two).store(y + place);
          at::vec::fmadd(its_own, two, its_other * one).store(y + its_place);
        }
      });
    }
  }

  void take_back(int64_t index, const T* x, T* grad, T* sums, int64_t count) const {
    const Stage& stage = stages_[index];
    const T *first = coefficients(index), *second = first + width;
    const auto add_to = [](T* place, const V& sum) { (V::loadu(place) + sum).store(place); };
    if (stage.phase) {
      each_block(0, [&](int64_t at) {
        const V cosine = V::loadu(first + at), sine = V::loadu(second + at);
        V of_cosine(0), of_sine(0);
        for (int64_t line = 0; line < count; line += 2) {
          const int64_t re = line * width + at, im = re + width;
          const V real = V::loadu(x + re), imaginary = V::loadu(x + im);
          const V real_grad = V::loadu(grad + re), imaginary_grad = V::loadu(grad + im);
          of_cosine = of_cosine + real_grad * real + imaginary_grad * imaginary;
          of_sine = of_sine + imaginary_grad * real - real_grad * imaginary;
          (cosine * real_grad + sine * imaginary_grad).store(grad + re);
          (cosine * imaginary_grad - sine * real_grad).store(grad + im);
        }
        add_to(sums + at, of_cosine);
        add_to(sums + width + at, of_sine);
      });
    } else if (stage.distance < lanes) {
      const Exchange<T> exchanged(stage.distance);
      if (stage.start)
        for (int64_t line = 0; line < count; ++line) {
          sums[0] += grad[line * width] * x[line * width];
          grad[line * width] *= first[0];
        }
      each_block(stage.start, [&](int64_t at) {
        const V own = V::loadu(first + at), other = V::loadu(second + at);
        V of_own(0), of_other(0);
        for (int64_t place = at; place < count * width; place += width) {
          const V value = V::loadu(x + place), given = V::loadu(grad + place);
          of_own = at::vec::fmadd(given, value, of_own);
          of_other = at::vec::fmadd(given, exchanged(value), of_other);
          at::vec::fmadd(own, given, exchanged(other * given)).store(grad + place);
        }
        add_to(sums + at, of_own);
        add_to(sums + width + at, of_other);
      });
    } else {
      each_pair(stage.distance, [&](int64_t at, int64_t partner) {
        const V own = V::loadu(first + at), other = V::loadu(second + at);
        V of_own(0), of_other(0), of_its_own(0), of_its_other(0);
        if (partner < 0) {
          for (int64_t place = at; place < count * width; place += width) {
            const V given = V::loadu(grad + place);
            of_own = at::vec::fmadd(given, V::loadu(x + place), of_own);
            (own * given).store(grad + place);
          }
          add_to(sums + at, of_own);
          return;
        }
        const V its_own = V::loadu(first + partner), its_other = V::loadu(second + partner);
        for (int64_t place = at; place < count * width; place += width) {
          const int64_t its_place = place + partner - at;
          const V one = V::loadu(x + place), two = V::loadu(x + its_place);
          const V given = V::loadu(grad + place), its_given = V::loadu(grad + its_place);
          of_own = at::vec::fmadd(given, one, of_own);
          of_other = at::vec::fmadd(given, two, of_other);
          of_its_own = at::vec::fmadd(its_given, two, of_its_own);
          of_its_other = at::vec::fmadd(its_given, one, of_its_other);
          at::vec::fmadd(own, given, its_other * its_given).store(grad + place);
          at::vec::fmadd(its_own, its_given, other * given).store(grad + its_place);
        }
        add_to(sums + at, of_own);
        add_to(sums + width + at, of_other);
        add_to(sums + partner, of_its_own);
        add_to(sums + width + partner, of_its_other);
      });
    }
  }

  // Calls body(at) for every vector from `start` on; the last may reach into the padding.
  template <typename Body>
  __attribute__((always_inline)) void each_block(int64_t start, Body&& body) const {
    for (int64_t at = start; at < units; at += lanes) body(at);
  }

  // Calls body(at, partner) for every two vectors that stand `distance` apart; -1 where the second is beyond the units.
  template <typename Body>
  __attribute__((always_inline)) void each_pair(int64_t distance, Body&& body) const {
    for (int64_t at = 0; at < units; at += lanes)
      if ((at & distance) == 0) body(at, at + distance < units ? at + distance : -1);
  }

  std::vector<Stage> stages_;
  at::Tensor numbers_;
};

}  // namespace rmem
