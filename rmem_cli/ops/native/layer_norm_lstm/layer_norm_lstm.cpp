// What a step of the layer-norm LSTM does behind its products, and the gradient of that.
//
// `ops/layer_norm_lstm/README.md` has the equations. Each thread takes some rows of the batch.

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/library.h>

#include "common/buffers.h"
#include "common/caches.h"
#include "common/cores.h"
#include "common/denormals.h"
#include "common/differentiation.h"
#include "common/elementwise.h"
#include "common/operands.h"
#include "common/zoneout.h"

#include <cmath>
#include <numeric>
#include <vector>

namespace rmem {
namespace {

// ---------------------------------------------------------------------------------------------------------
// Arguments and results

#define UPDATE_OPERANDS(each)                                                           \
  each(Tensor, z)                     /* input, forget, output, candidate: [batch, row] */ \
  each(Tensor, hidden)                /* before the step: [batch, hidden], as the cell */  \
  each(Tensor, cell)                                                                    \
  each(Tensor, gate_gain)             /* of the norm of each block of z: [row] */       \
  each(Tensor, gate_shift)            /* with the forget bias: [row] */                 \
  each(Tensor, cell_gain)             /* [hidden] */                                    \
  each(Tensor, cell_shift)                                                              \
  each(optional<Tensor>, hidden_keep) /* share that zoneout lets through: as `hidden` */ \
  each(optional<Tensor>, cell_keep)
RMEM_RECORD(Operands, UPDATE_OPERANDS)

#define UPDATE_KEEPING(each) each(bool, keep) /* what the gradient needs */
RMEM_RECORD(Keeping, UPDATE_KEEPING)

#define UPDATE_STATES(each) /* after the step: [batch, hidden] */ \
  each(Tensor, hidden_after)                                      \
  each(Tensor, cell_after)

#define UPDATE_KEPT(each)                                     \
  each(Tensor, gates)    /* after activation: [batch, row] */ \
  each(Tensor, new_cell) /* before zoneout: [batch, hidden] */ \
  each(Tensor, norms)    /* mean and scale of each block, and of the new cell: [batch, 2 (blocks + 1)] */
RMEM_RECORD(Kept, UPDATE_KEPT)

#define UPDATE_RESULTS(each) UPDATE_STATES(each) UPDATE_KEPT(each)
RMEM_RECORD(Results, UPDATE_RESULTS)

#define UPDATE_RESULT_GRADIENTS(each) /* nothing where there is none */ \
  each(optional<Tensor>, hidden_grad)                                   \
  each(optional<Tensor>, cell_grad)
RMEM_RECORD(ResultGradients, UPDATE_RESULT_GRADIENTS)

#define UPDATE_GRADIENTS(each) \
  each(Tensor, z)              \
  each(Tensor, hidden)         \
  each(Tensor, cell)           \
  each(Tensor, gate_gain)      \
  each(Tensor, gate_shift)     \
  each(Tensor, cell_gain)      \
  each(Tensor, cell_shift)
RMEM_RECORD(ArgumentGradients, UPDATE_GRADIENTS)

// In the order of `BLOCKS` in ops/layer_norm_lstm/options.py.
enum Block { input, forget, output, candidate, blocks };

constexpr double layer_norm_eps = 1e-3;
// Rows whose shares of the gradients of gains and shifts are added up in one place: the sums must not depend on which
// thread comes first.
constexpr int64_t group_rows = 16;

struct Sizes {
  int64_t batch, hidden;

  explicit Sizes(const Operands& given) : batch(given.cell.size(0)), hidden(given.cell.size(1)) {}

  int64_t row() const { return blocks * hidden; }
  int64_t groups() const { return (batch + group_rows - 1) / group_rows; }
};

void check(const Operands& given, const Sizes& sizes) {
  check_sizes("pre-activations", given.z, {sizes.batch, sizes.row()});
  check_sizes("hidden state", given.hidden, {sizes.batch, sizes.hidden});
  check_sizes("gain of the gates", given.gate_gain, {sizes.row()});
  check_sizes("shift of the gates", given.gate_shift, {sizes.row()});
  check_sizes("gain of the cell", given.cell_gain, {sizes.hidden});
  check_sizes("shift of the cell", given.cell_shift, {sizes.hidden});
  check_sizes("share of the hidden state", given.hidden_keep, {sizes.batch, sizes.hidden});
  check_sizes("share of the cell", given.cell_keep, {sizes.batch, sizes.hidden});
  check_contiguous({given.z, given.hidden, given.cell, given.gate_gain, given.gate_shift, given.cell_gain,
                    given.cell_shift});
  for (const optional<Tensor>& keep : {given.hidden_keep, given.cell_keep})
    if (keep) check_contiguous({*keep});
}

// Place of a row, or null where there is none.
template <typename T>
const T* row_of(const optional<Tensor>& tensor, int64_t row) {
  return tensor ? tensor->const_data_ptr<T>() + row * tensor->size(1) : nullptr;
}

template <typename T>
T* mutable_row_of(const Tensor& tensor, int64_t row) {
  return tensor.mutable_data_ptr<T>() + row * tensor.size(1);
}

// ---------------------------------------------------------------------------------------------------------
// Layer norm

// The sum of body(first, count) over all vectors, of whose numbers the first `count` count.
template <typename T, typename Body>
T sum_of(int64_t size, Body&& body) {
  constexpr int64_t lanes = Vector<T>::size();
  const int64_t whole = size / lanes * lanes;
  alignas(line_bytes) T numbers[lanes];
  Vector<T> sums(0);
  for (int64_t first = 0; first < whole; first += lanes) sums = sums + body(first, lanes);
  sums.store(numbers);
  T sum = std::accumulate(numbers, numbers + lanes, T(0));
  if (whole == size) return sum;
  body(whole, size - whole).store(numbers, size - whole);
  return std::accumulate(numbers, numbers + size - whole, sum);
}

// What makes numbers those of mean zero and variance one.
template <typename T>
struct Norm {
  T mean, scale;

  Norm() = default;
  Norm(const T* numbers, int64_t size) {
    mean = sum_of<T>(size, [&](int64_t first, int64_t count) { return load(numbers + first, count); }) / T(size);
    const T variance = sum_of<T>(size, [&](int64_t first, int64_t count) {
      const Vector<T> apart = load(numbers + first, count) - Vector<T>(mean);
      return apart * apart;
    });
    scale = T(1) / std::sqrt(variance / T(size) + T(layer_norm_eps));
  }

  Vector<T> operator()(const Vector<T>& numbers) const { return (numbers - Vector<T>(mean)) * Vector<T>(scale); }
};

// From the gradient of `gain * norm(numbers) + shift` to that of the numbers, in place; adds to those of gain and shift.
template <typename T>
void norm_backward(const Norm<T>& norm, const T* numbers, const T* gain, T* grad, T* gain_grad, T* shift_grad,
                   int64_t size) {
  using V = Vector<T>;
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const V of_result = load(grad + first, count);
    store(load(gain_grad + first, count) + of_result * norm(load(numbers + first, count)), gain_grad + first, count);
    store(load(shift_grad + first, count) + of_result, shift_grad + first, count);
    store(of_result * load(gain + first, count), grad + first, count);
  });
  const T mean = sum_of<T>(size, [&](int64_t first, int64_t count) { return load(grad + first, count); }) / T(size);
  const T along = sum_of<T>(size, [&](int64_t first, int64_t count) {
    return load(grad + first, count) * norm(load(numbers + first, count));
  }) / T(size);
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    const V apart = load(grad + first, count) - V(mean) - V(along) * norm(load(numbers + first, count));
    store(apart * V(norm.scale), grad + first, count);
  });
}

// ---------------------------------------------------------------------------------------------------------
// The step of one row

// Where the gradients of gains and shifts are added up.
template <typename T>
struct Sums {
  T *gate_gain, *gate_shift, *cell_gain, *cell_shift;
};

template <typename T>
struct Update {
  using V = Vector<T>;

  int64_t size;
  const T *gate_gain, *gate_shift, *cell_gain, *cell_shift;

  explicit Update(const Operands& given)
      : size(given.cell.size(1)),
        gate_gain(given.gate_gain.const_data_ptr<T>()),
        gate_shift(given.gate_shift.const_data_ptr<T>()),
        cell_gain(given.cell_gain.const_data_ptr<T>()),
        cell_shift(given.cell_shift.const_data_ptr<T>()) {}

  // Before zoneout.
  void forward(const T* z, const T* cell_before, T* gates, Norm<T>* norms, T* hidden, T* cell) const {
    for (int64_t block = 0; block < blocks; ++block) norms[block] = Norm<T>(z + block * size, size);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const auto normalised = [&](Block block) {
        const int64_t at = block * size + first;
        return load(gate_shift + at, count) + load(gate_gain + at, count) * norms[block](load(z + at, count));
      };
      const V let_in = sigmoid(normalised(input)), keep = sigmoid(normalised(forget));
      const V entry = tanh(normalised(candidate));
      store(let_in, gates + input * size + first, count);
      store(keep, gates + forget * size + first, count);
      store(sigmoid(normalised(output)), gates + output * size + first, count);
      store(entry, gates + candidate * size + first, count);
      store(keep * load(cell_before + first, count) + let_in * entry, cell + first, count);
    });
    norms[blocks] = Norm<T>(cell, size);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V open = load(gates + output * size + first, count);
      store(open * squashed(norms[blocks], cell, first, count), hidden + first, count);
    });
  }

  // From the gradients of the new states, before zoneout: those of z, and of the cell before in the place of that of the
  // new one. That of the hidden state is overwritten.
  void backward(const T* z, const T* cell_before, const T* gates, const T* cell, const Norm<T>* norms, T* hidden_grad,
                T* cell_grad, T* z_grad, const Sums<T>& sums) const {
    const auto gate = [&](Block block, int64_t first, int64_t count) { return load(gates + block * size + first, count); };
    const auto slope = [](const V& open) { return open - open * open; };
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V open = gate(output, first, count), tanh_cell = squashed(norms[blocks], cell, first, count);
      const V of_hidden = load(hidden_grad + first, count);
      store(of_hidden * tanh_cell * slope(open), z_grad + output * size + first, count);
      store(of_hidden * open * (V(1) - tanh_cell * tanh_cell), hidden_grad + first, count);
    });
    norm_backward(norms[blocks], cell, cell_gain, hidden_grad, sums.cell_gain, sums.cell_shift, size);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V let_in = gate(input, first, count), keep = gate(forget, first, count);
      const V entry = gate(candidate, first, count);
      const V of_cell = load(cell_grad + first, count) + load(hidden_grad + first, count);
      store(of_cell * entry * slope(let_in), z_grad + input * size + first, count);
      store(of_cell * load(cell_before + first, count) * slope(keep), z_grad + forget * size + first, count);
      store(of_cell * let_in * (V(1) - entry * entry), z_grad + candidate * size + first, count);
      store(of_cell * keep, cell_grad + first, count);
    });
    for (int64_t block = 0, at = 0; block < blocks; ++block, at += size)
      norm_backward(norms[block], z + at, gate_gain + at, z_grad + at, sums.gate_gain + at, sums.gate_shift + at, size);
  }

 private:
  V squashed(const Norm<T>& norm, const T* cell, int64_t first, int64_t count) const {
    return tanh(load(cell_shift + first, count) + load(cell_gain + first, count) * norm(load(cell + first, count)));
  }
};

// ---------------------------------------------------------------------------------------------------------
// The operation

Results layer_norm_lstm_update(const Operands& given, const Keeping& keeping) {
  const Sizes sizes(given);
  check(given, sizes);
  const auto& options = given.z.options();
  const Tensor hidden = uninitialised({sizes.batch, sizes.hidden}, options), cell = at::empty_like(hidden);
  Tensor gates = uninitialised({sizes.batch, sizes.row()}, options);
  Tensor new_cell = uninitialised({sizes.batch, sizes.hidden}, options);
  Tensor norms = at::empty({sizes.batch, 2 * (blocks + 1)}, options);

  AT_DISPATCH_FLOATING_TYPES(given.z.scalar_type(), "layer_norm_lstm_update", [&] {
    using T = scalar_t;
    const Update<T> update(given);
    parallel_for(0, sizes.batch, rows_per_thread, [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      for (int64_t row = begin; row < end; ++row) {
        const T *hidden_before = row_of<T>(given.hidden, row), *cell_before = row_of<T>(given.cell, row);
        const T *hidden_keep = row_of<T>(given.hidden_keep, row), *cell_keep = row_of<T>(given.cell_keep, row);
        T *hidden_row = mutable_row_of<T>(hidden, row), *cell_row = mutable_row_of<T>(cell, row);
        T* new_row = mutable_row_of<T>(new_cell, row);
        update.forward(row_of<T>(given.z, row), cell_before, mutable_row_of<T>(gates, row),
                       reinterpret_cast<Norm<T>*>(mutable_row_of<T>(norms, row)), hidden_row, new_row);
        if (hidden_keep) let_through(hidden_before, hidden_row, hidden_keep, hidden_row, sizes.hidden);
        if (cell_keep) {
          let_through(cell_before, new_row, cell_keep, cell_row, sizes.hidden);
        } else {
          copy(new_row, sizes.hidden, cell_row);
        }
      }
    });
  });
  if (!keeping.keep) gates = at::empty({0}, options), new_cell = at::empty({0}, options), norms = at::empty({0}, options);
  return {hidden, cell, gates, new_cell, norms};
}

// A copy that may be overwritten, zeros for no gradient.
Tensor own_copy(const optional<Tensor>& grad, const Tensor& like) {
  return grad ? grad->clone(at::MemoryFormat::Contiguous) : at::zeros_like(like);
}

ArgumentGradients layer_norm_lstm_update_backward(const ResultGradients& of_results, const Operands& given,
                                                  const Kept& kept) {
  const Sizes sizes(given);
  check(given, sizes);
  check_contiguous({kept.gates, kept.new_cell, kept.norms});
  const auto& options = given.z.options();
  const Tensor z_grad = uninitialised({sizes.batch, sizes.row()}, options);
  const Tensor hidden_grad = at::zeros_like(given.hidden), new_hidden_grad = own_copy(of_results.hidden_grad, given.hidden);
  const Tensor cell_grad = own_copy(of_results.cell_grad, given.cell);
  const auto sums_of = [&](const Tensor& weight) { return at::zeros({sizes.groups(), weight.size(0)}, options); };
  const Tensor gate_gain = sums_of(given.gate_gain), gate_shift = sums_of(given.gate_shift);
  const Tensor cell_gain = sums_of(given.cell_gain), cell_shift = sums_of(given.cell_shift);

  AT_DISPATCH_FLOATING_TYPES(given.z.scalar_type(), "layer_norm_lstm_update_backward", [&] {
    using T = scalar_t;
    const Update<T> update(given);
    parallel_for(0, sizes.groups(), 1, [&](int64_t begin, int64_t end) {
      const FlushDenormals flush;
      std::vector<T> rest(sizes.hidden);
      for (int64_t row = begin * group_rows; row < std::min(sizes.batch, end * group_rows); ++row) {
        const int64_t group = row / group_rows;
        const T *hidden_keep = row_of<T>(given.hidden_keep, row), *cell_keep = row_of<T>(given.cell_keep, row);
        T *of_hidden = mutable_row_of<T>(new_hidden_grad, row), *of_cell = mutable_row_of<T>(cell_grad, row);
        if (hidden_keep) let_through_backward(hidden_keep, of_hidden, mutable_row_of<T>(hidden_grad, row), sizes.hidden);
        if (cell_keep) let_through_backward(cell_keep, of_cell, rest.data(), sizes.hidden);
        update.backward(row_of<T>(given.z, row), row_of<T>(given.cell, row), row_of<T>(kept.gates, row),
                        row_of<T>(kept.new_cell, row), reinterpret_cast<const Norm<T>*>(row_of<T>(kept.norms, row)),
                        of_hidden, of_cell, mutable_row_of<T>(z_grad, row),
                        {mutable_row_of<T>(gate_gain, group), mutable_row_of<T>(gate_shift, group),
                         mutable_row_of<T>(cell_gain, group), mutable_row_of<T>(cell_shift, group)});
        if (cell_keep) add(rest.data(), of_cell, sizes.hidden);
      }
    });
  });
  return {z_grad, hidden_grad, cell_grad, gate_gain.sum(0), gate_shift.sum(0), cell_gain.sum(0), cell_shift.sum(0)};
}

// ---------------------------------------------------------------------------------------------------------
// Differentiation

struct LayerNormLSTMUpdate {
  static constexpr auto name = "layer_norm_lstm_update";
  static constexpr auto forward = &layer_norm_lstm_update;
  static constexpr auto backward = &layer_norm_lstm_update_backward;

  static std::tuple<Operands, Kept> saved(const Results& results, const Operands& operands, const Keeping&) {
    return {operands, {results.gates, results.new_cell, results.norms}};
  }

  template <typename... Arguments>
  static Variables constant(const Results& results, const Arguments&...) {
    return {results.gates, results.new_cell, results.norms};
  }
};

}  // namespace
}  // namespace rmem

TORCH_LIBRARY_FRAGMENT(rmem, library) { rmem::Differentiable<rmem::LayerNormLSTMUpdate>::define(library); }
