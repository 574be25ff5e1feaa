// The gated LSTM: all steps of a sequence in one call, and all steps of its gradient in another.
//
// Everything is time first. The blocks of a step's pre-activations stand in the order of `lstm_blocks` in
// ops/gates/options.py. Each thread takes its part of the batch or of the units through a whole chunk of steps.

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/library.h>

#include "common/buffers.h"
#include "common/caches.h"
#include "common/denormals.h"
#include "common/differentiation.h"
#include "common/elementwise.h"
#include "common/operands.h"
#include "common/zoneout.h"
#include "gates/team.h"
#include "product/large_product.h"
#include "product/product.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace rmem {
namespace {

// ---------------------------------------------------------------------------------------------------------
// Arguments and results

#define LSTM_OPERANDS(each)                                                        \
  each(Tensor, x)                     /* [time, batch, input] */                   \
  each(Tensor, hidden)                /* [batch, hidden], as the cell */           \
  each(Tensor, cell)                                                               \
  each(Tensor, input_weight)          /* [row, input] */                           \
  each(Tensor, recurrent_weight)      /* [row, hidden] */                          \
  each(optional<Tensor>, gain)        /* of the layer norm: [row] */               \
  each(optional<Tensor>, hidden_keep) /* share that zoneout keeps: as `hiddens` */ \
  each(optional<Tensor>, cell_keep)
RMEM_RECORD(Operands, LSTM_OPERANDS)

#define LSTM_BIAS(each) each(Tensor, bias) /* [row] */
RMEM_RECORD(Bias, LSTM_BIAS)

#define LSTM_CHOICES(each) /* see `GateOptions` */ \
  each(int64_t, auxiliary)                         \
  each(bool, coupled)                              \
  each(bool, ordered)                              \
  each(int64_t, master_downsize)
RMEM_RECORD(Choices, LSTM_CHOICES)

#define LSTM_KEEPING(each) each(bool, keep) /* what the gradient needs */
RMEM_RECORD(Keeping, LSTM_KEEPING)

#define LSTM_RESULTS(each)                                                                \
  each(Tensor, hiddens)   /* after every step: [time, batch, hidden], as the cells */     \
  each(Tensor, cells)                                                                     \
  each(Tensor, gates)     /* [time, batch, row]; this and what follows, if it is kept */  \
  each(Tensor, new_cells) /* with zoneout: the cells before it */                         \
  each(Tensor, normal)    /* with layer norm: the normalised pre-activations */           \
  each(Tensor, scales)    /* with layer norm: their scales */
RMEM_RECORD(Results, LSTM_RESULTS)

#define LSTM_RESULT_GRADIENTS(each) /* nothing where there is none */ \
  each(optional<Tensor>, hidden_grads)                                \
  each(optional<Tensor>, cell_grads)
RMEM_RECORD(ResultGradients, LSTM_RESULT_GRADIENTS)

#define LSTM_WANTED(each) /* gradients: */ \
  each(bool, want_x)                       \
  each(bool, want_weights)
RMEM_RECORD(Wanted, LSTM_WANTED)

#define LSTM_GRADIENTS(each) /* those that are not wanted, or of what is not there, are empty */ \
  each(Tensor, x)                                                                                \
  each(Tensor, hidden)                                                                           \
  each(Tensor, cell)                                                                             \
  each(Tensor, input_weight)                                                                     \
  each(Tensor, recurrent_weight)                                                                 \
  each(Tensor, bias)                                                                             \
  each(Tensor, gain)
RMEM_RECORD(ArgumentGradients, LSTM_GRADIENTS)

enum class Auxiliary { none, master, refine };

// What a step does with its gates; see `GateOptions`.
struct Form {
  Auxiliary auxiliary;
  bool coupled;
  bool ordered;
  int64_t master_downsize;

  int64_t forget_blocks() const { return auxiliary == Auxiliary::none ? 1 : 2; }
  int64_t input_blocks() const { return coupled ? 0 : auxiliary == Auxiliary::master ? 2 : 1; }
  int64_t blocks() const { return forget_blocks() + input_blocks() + 2; }
};

Form form_of(int64_t auxiliary, bool coupled, bool ordered, int64_t master_downsize) {
  TORCH_CHECK(auxiliary >= 0 && auxiliary <= 2, "auxiliary is ", auxiliary, "; it must be 0, 1 or 2");
  TORCH_CHECK(master_downsize > 0, "master_downsize is ", master_downsize, "; it must be positive");
  return {static_cast<Auxiliary>(auxiliary), coupled, ordered, master_downsize};
}

// Steps after which the threads meet, to work on large products together.
constexpr int64_t chunk_steps = 64;

// ---------------------------------------------------------------------------------------------------------
// One step of one row

// The gates of some units after their activation; those that the form lacks are not set.
template <typename V>
struct Gates {
  V forget, forget_auxiliary, input, input_auxiliary, candidate, output;
};

// Places of the blocks within a row.
template <typename T>
struct Blocks {
  T *forget, *forget_auxiliary, *input, *input_auxiliary, *candidate, *output;

  Blocks(T* row, int64_t apart, const Form& form) {
    T* place = row;
    const auto next = [&](bool present) {
      T* block = present ? place : nullptr;
      if (present) place += apart;
      return block;
    };
    forget = next(true);
    forget_auxiliary = next(form.auxiliary != Auxiliary::none);
    input = next(!form.coupled);
    input_auxiliary = next(!form.coupled && form.auxiliary == Auxiliary::master);
    candidate = next(true);
    output = next(true);
  }
};

// How much of the old cell is kept and how much of the candidate is let in.
template <typename V>
struct Flow {
  V keep, let_in;
};

template <Auxiliary auxiliary, bool coupled, typename V>
Flow<V> flow(const Gates<V>& gates) {
  const V one(1);
  const V &f = gates.forget, &a = gates.forget_auxiliary;
  if constexpr (!coupled && auxiliary == Auxiliary::master) {
    const V overlap = f * gates.input;
    return {f - overlap * (one - a), gates.input - overlap * (one - gates.input_auxiliary)};
  } else {
    V keep = f;
    if constexpr (auxiliary == Auxiliary::master) keep = f * f + a * (f - f * f);
    if constexpr (auxiliary == Auxiliary::refine) keep = f * f + (a + a) * (f - f * f);
    return {keep, coupled ? one - keep : gates.input};
  }
}

// Gradients of the gates, after their activation, from those of the flow.
template <Auxiliary auxiliary, bool coupled, typename V>
void flow_backward(const Gates<V>& gates, V keep_grad, const V& let_in_grad, Gates<V>& grads) {
  const V one(1);
  const V &f = gates.forget, &a = gates.forget_auxiliary;
  if constexpr (!coupled && auxiliary == Auxiliary::master) {
    const V &i = gates.input, &b = gates.input_auxiliary;
    const V unkept = keep_grad * (one - a), unlet = let_in_grad * (one - b);
    grads.forget = keep_grad - (unkept + unlet) * i;
    grads.input = let_in_grad - (unkept + unlet) * f;
    grads.forget_auxiliary = keep_grad * f * i;
    grads.input_auxiliary = let_in_grad * f * i;
    return;
  }
  if constexpr (coupled) {
    keep_grad = keep_grad - let_in_grad;
  } else {
    grads.input = let_in_grad;
  }
  grads.forget = keep_grad;
  if constexpr (auxiliary != Auxiliary::none) {
    const V weight = auxiliary == Auxiliary::refine ? a + a : a;
    const V spread = f - f * f;
    grads.forget = keep_grad * (f + f + weight * (one - f - f));
    grads.forget_auxiliary = keep_grad * (auxiliary == Auxiliary::refine ? spread + spread : spread);
  }
}

// Softmax in place, over a row.
template <typename T>
void softmax(T* row, int64_t size) {
  T largest = row[0];
  for (int64_t unit = 1; unit < size; ++unit) largest = row[unit] > largest ? row[unit] : largest;
  T sum = 0;
  each_vector<T>(size, [&](int64_t first, int64_t count) {
    store((load(row + first, count) - Vector<T>(largest)).exp(), row + first, count);
  });
  for (int64_t unit = 0; unit < size; ++unit) sum += row[unit];
  const T scale = T(1) / sum;
  for (int64_t unit = 0; unit < size; ++unit) row[unit] *= scale;
}

// A gate of ON-LSTM from its softmax: the sums up to each unit, or one minus them.
template <typename T>
void cumulate(const T* shares, T* gate, int64_t size, bool from_one) {
  T sum = 0;
  for (int64_t unit = 0; unit < size; ++unit) {
    sum += shares[unit];
    gate[unit] = from_one ? T(1) - sum : sum;
  }
}

// From the gradient of such a gate (overwritten) to that of its pre-activation.
template <typename T>
void cumulate_backward(const T* shares, T* grad, int64_t size, bool from_one) {
  T sum = 0, mean = 0;
  for (int64_t unit = size - 1; unit >= 0; --unit) {
    sum += from_one ? -grad[unit] : grad[unit];
    grad[unit] = sum;
    mean += shares[unit] * sum;
  }
  for (int64_t unit = 0; unit < size; ++unit) grad[unit] = shares[unit] * (grad[unit] - mean);
}

// Gives each of the units that share one of a downsized ordered master the sum up to the last of them.
template <typename T>
void share(T* gate, int64_t size, int64_t sharers) {
  for (int64_t end = sharers; end <= size; end += sharers) std::fill_n(gate + end - sharers, sharers, gate[end - 1]);
}

// From the gradients of shared sums to those of the sums, in place.
template <typename T>
void share_backward(T* grad, int64_t size, int64_t sharers) {
  for (int64_t end = sharers; end <= size; end += sharers) {
    const T sum = std::accumulate(grad + end - sharers, grad + end, T(0));
    std::fill_n(grad + end - sharers, sharers, T(0));
    grad[end - 1] = sum;
  }
}

template <typename T, Auxiliary auxiliary, bool coupled, bool ordered>
struct Cell {
  static constexpr bool has_auxiliary = auxiliary != Auxiliary::none;
  static constexpr bool has_input_auxiliary = !coupled && auxiliary == Auxiliary::master;
  using V = Vector<T>;

  // Units that it computes, all of them if they are ordered; how far apart the blocks of a row begin; and how many
  // units share one of a master.
  int64_t size, apart, master_downsize;
  Form form{auxiliary, coupled, ordered, master_downsize};
  // Ordered gates of the row at hand, forget and input: sums over units do not fit a vector.
  std::vector<T> ordered_forget = std::vector<T>(ordered ? size : 0);
  std::vector<T> ordered_input = std::vector<T>(ordered && !coupled ? size : 0);

  // Turns the pre-activations of a row, less the bias, into its gates, in place; an ordered gate is kept as
  // its softmax.
  void forward(T* row, const T* bias, const T* cell_before, T* cell, T* hidden) {
    const Blocks<T> at(row, apart, form);
    const Blocks<const T> shift(bias, apart, form);
    if constexpr (ordered) {
      add(shift.forget, at.forget, size);
      if constexpr (!coupled) add(shift.input, at.input, size);
      softmax(at.forget, size);
      if constexpr (!coupled) softmax(at.input, size);
      order(at);
    }
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const auto joined = [&](const T* block, const T* shifts) {
        return load(block + first, count) + load(shifts + first, count);
      };
      const auto opened = [&](T* block, const T* shifts) {
        const V gate = sigmoid(joined(block, shifts));
        store(gate, block + first, count);
        return gate;
      };
      Gates<V> gates;
      gates.forget = ordered ? load(ordered_forget.data() + first, count) : opened(at.forget, shift.forget);
      if constexpr (has_auxiliary) gates.forget_auxiliary = opened(at.forget_auxiliary, shift.forget_auxiliary);
      if constexpr (!coupled)
        gates.input = ordered ? load(ordered_input.data() + first, count) : opened(at.input, shift.input);
      if constexpr (has_input_auxiliary) gates.input_auxiliary = opened(at.input_auxiliary, shift.input_auxiliary);
      const V candidate = tanh(joined(at.candidate, shift.candidate));
      store(candidate, at.candidate + first, count);
      const Flow<V> flows = flow<auxiliary, coupled>(gates);
      const V after = flows.keep * load(cell_before + first, count) + flows.let_in * candidate;
      store(after, cell + first, count);
      store(opened(at.output, shift.output) * tanh(after), hidden + first, count);
    });
  }

  // Gradients of the pre-activations of a row, and of the cell before it in the place of that after it.
  void backward(const T* row, const T* cell_before, const T* cell, const T* hidden_grad, T* cell_grad, T* grad_row) {
    const Blocks<const T> at(row, apart, form);
    const Blocks<T> grad(grad_row, apart, form);
    if constexpr (ordered) order(at);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V one(1);
      const auto read = [&](const T* block) { return load(block + first, count); };
      const auto slope = [&](const V& gate) { return gate - gate * gate; };
      Gates<V> gates, grads;
      gates.forget = read(ordered ? ordered_forget.data() : at.forget);
      if constexpr (has_auxiliary) gates.forget_auxiliary = read(at.forget_auxiliary);
      if constexpr (!coupled) gates.input = read(ordered ? ordered_input.data() : at.input);
      if constexpr (has_input_auxiliary) gates.input_auxiliary = read(at.input_auxiliary);
      gates.candidate = read(at.candidate);
      gates.output = read(at.output);

      const V squashed = tanh(read(cell)), from_hidden = read(hidden_grad);
      store(from_hidden * squashed * slope(gates.output), grad.output + first, count);
      const V from_cell = read(cell_grad) + from_hidden * gates.output * (one - squashed * squashed);
      const Flow<V> flows = flow<auxiliary, coupled>(gates);
      store(from_cell * flows.keep, cell_grad + first, count);
      const V open = from_cell * flows.let_in;
      store(open * (one - gates.candidate * gates.candidate), grad.candidate + first, count);

      flow_backward<auxiliary, coupled>(gates, from_cell * read(cell_before), from_cell * gates.candidate, grads);
      const V forget_slope = ordered ? one : slope(gates.forget);
      store(grads.forget * forget_slope, grad.forget + first, count);
      if constexpr (has_auxiliary)
        store(grads.forget_auxiliary * slope(gates.forget_auxiliary), grad.forget_auxiliary + first, count);
      if constexpr (!coupled) {
        const V input_slope = ordered ? one : slope(gates.input);
        store(grads.input * input_slope, grad.input + first, count);
      }
      if constexpr (has_input_auxiliary)
        store(grads.input_auxiliary * slope(gates.input_auxiliary), grad.input_auxiliary + first, count);
    });
    if constexpr (ordered) {
      if (master_downsize > 1) {
        share_backward(grad.forget, size, master_downsize);
        if constexpr (!coupled) share_backward(grad.input, size, master_downsize);
      }
      cumulate_backward(at.forget, grad.forget, size, false);
      if constexpr (!coupled) cumulate_backward(at.input, grad.input, size, true);
    }
  }

 private:
  template <typename Places>
  void order(const Places& at) {
    cumulate(at.forget, ordered_forget.data(), size, false);
    if constexpr (!coupled) cumulate(at.input, ordered_input.data(), size, true);
    if (master_downsize == 1) return;
    share(ordered_forget.data(), size, master_downsize);
    if constexpr (!coupled) share(ordered_input.data(), size, master_downsize);
  }
};

// Calls body with the cell of a form, for `size` units of blocks that begin `apart`.
template <typename T, typename Body>
void with_cell(const Form& form, int64_t size, int64_t apart, Body&& body) {
  const auto with_order = [&](auto auxiliary, auto coupled) {
    if (form.ordered) {
      body(Cell<T, auxiliary.value, coupled.value, true>{size, apart, form.master_downsize});
    } else {
      body(Cell<T, auxiliary.value, coupled.value, false>{size, apart, form.master_downsize});
    }
  };
  const auto with_coupling = [&](auto auxiliary) {
    if (form.coupled) {
      with_order(auxiliary, std::true_type{});
    } else {
      with_order(auxiliary, std::false_type{});
    }
  };
  switch (form.auxiliary) {
    case Auxiliary::none: return with_coupling(std::integral_constant<Auxiliary, Auxiliary::none>{});
    case Auxiliary::master: return with_coupling(std::integral_constant<Auxiliary, Auxiliary::master>{});
    case Auxiliary::refine: return with_coupling(std::integral_constant<Auxiliary, Auxiliary::refine>{});
  }
}

// ---------------------------------------------------------------------------------------------------------
// Zoneout

// Shares of the new states that it lets through, [time, batch, hidden] each; null for all of them.
template <typename T>
struct Keeps {
  const T *hidden, *cell;

  Keeps(const optional<Tensor>& hidden_keep, const optional<Tensor>& cell_keep)
      : hidden(hidden_keep ? hidden_keep->const_data_ptr<T>() : nullptr),
        cell(cell_keep ? cell_keep->const_data_ptr<T>() : nullptr) {}
};

// ---------------------------------------------------------------------------------------------------------
// Layer norm of each block of a row by itself

constexpr double layer_norm_eps = 1e-5;

// Normalises a row in place, keeps it so in `normal`, then multiplies it; `scales` are 1 / deviation.
template <typename T>
void normalise(T* row, T* normal, T* scales, const T* gain, int64_t blocks, int64_t size) {
  for (int64_t block = 0; block < blocks; ++block) {
    T mean = 0, variance = 0;
    for (int64_t unit = 0; unit < size; ++unit) mean += row[block * size + unit];
    mean /= T(size);
    for (int64_t unit = 0; unit < size; ++unit) {
      const T apart = row[block * size + unit] - mean;
      variance += apart * apart;
    }
    scales[block] = T(1) / std::sqrt(variance / T(size) + T(layer_norm_eps));
    for (int64_t unit = block * size; unit < (block + 1) * size; ++unit) {
      normal[unit] = (row[unit] - mean) * scales[block];
      row[unit] = normal[unit] * gain[unit];
    }
  }
}

// From the gradient of a scaled row to that of the row before, in place; adds to the gradients of the gain.
template <typename T>
void normalise_backward(T* grad, const T* normal, const T* scales, const T* gain, T* gain_grad, T* bias_grad,
                        int64_t blocks, int64_t size) {
  for (int64_t block = 0; block < blocks; ++block) {
    T mean = 0, along = 0;
    for (int64_t unit = block * size; unit < (block + 1) * size; ++unit) {
      gain_grad[unit] += grad[unit] * normal[unit];
      bias_grad[unit] += grad[unit];
      grad[unit] *= gain[unit];
      mean += grad[unit];
      along += grad[unit] * normal[unit];
    }
    mean /= T(size);
    along /= T(size);
    for (int64_t unit = block * size; unit < (block + 1) * size; ++unit)
      grad[unit] = (grad[unit] - mean - along * normal[unit]) * scales[block];
  }
}

// ---------------------------------------------------------------------------------------------------------
// Sequences

// Sizes of a problem, and numbers of its layer norm's weights, where it has one.
struct Sizes {
  int64_t time, batch, input, hidden, blocks;

  Sizes(const Tensor& x, const Tensor& recurrent_weight, const Form& form)
      : time(x.size(0)),
        batch(x.size(1)),
        input(x.size(2)),
        hidden(recurrent_weight.size(1)),
        blocks(form.blocks()) {}

  int64_t row() const { return blocks * hidden; }
  // Of what a step multiplies by its weights: the hidden state, the input, and one for the bias.
  int64_t joined() const { return hidden + input + 1; }
};

// What both passes are given.
void check(const Operands& given, const Form& form, const Sizes& sizes) {
  TORCH_CHECK(sizes.time > 0, "a sequence has no step");
  check_sizes("input", given.x, {sizes.time, sizes.batch, sizes.input});
  check_sizes("recurrent weight", given.recurrent_weight, {form.blocks() * sizes.hidden, sizes.hidden});
  check_sizes("input weight", given.input_weight, {sizes.row(), sizes.input});
  check_sizes("hidden state", given.hidden, {sizes.batch, sizes.hidden});
  check_sizes("cell", given.cell, {sizes.batch, sizes.hidden});
  check_sizes("gain", given.gain, {sizes.row()});
  check_sizes("share of the hidden states", given.hidden_keep, {sizes.time, sizes.batch, sizes.hidden});
  check_sizes("share of the cells", given.cell_keep, {sizes.time, sizes.batch, sizes.hidden});
  TORCH_CHECK(sizes.hidden % form.master_downsize == 0, "master_downsize ", form.master_downsize,
              " does not divide the ", sizes.hidden, " units");
  check_contiguous({given.x, given.hidden, given.cell, given.input_weight, given.recurrent_weight});
  for (const auto& each : {given.gain, given.hidden_keep, given.cell_keep})
    if (each) check_contiguous(*each);
}

// The recurrent weights of a forward step, laid out for the parts that the threads take: as one matrix, or, by
// units, as one for each block, since a part has some columns of each.
template <typename T>
class RecurrentProduct {
 public:
  RecurrentProduct(const Tensor& weight, const Sizes& sizes, bool by_units)
      : by_units_(by_units), row_(sizes.row()), columns_(by_units ? sizes.hidden : sizes.row()) {
    const T* from = weight.const_data_ptr<T>();
    // All in one block of memory: it is as large as that of the backward pass, which takes its place.
    const Tensor room = PackedMatrix<T>::room_for(sizes.hidden, columns_, row_ / columns_);
    for (int64_t block = 0; block < room.size(0); ++block)
      matrices_.emplace_back(from + block * columns_ * sizes.hidden, sizes.hidden, columns_, 1, sizes.hidden,
                             weight.nbytes(), room[block]);
  }

  // rows [batch, row] += hidden [batch, hidden] @ weight', where a part has rows and columns
  void accumulate(const T* hidden, int64_t size, T* rows, const Part& part) const {
    const int64_t begin = by_units_ ? part.unit : 0, end = by_units_ ? part.unit + part.units : columns_;
    for (size_t block = 0; block < matrices_.size(); ++block)
      matrices_[block].accumulate(hidden + part.row * size, size, part.rows,
                                  rows + part.row * row_ + static_cast<int64_t>(block) * columns_, row_, begin, end);
  }

 private:
  bool by_units_;
  int64_t row_, columns_;
  std::vector<PackedMatrix<T>> matrices_;
};

// The threads of a problem: by units where the weights are large, unless a gate or a norm needs a whole row.
template <typename T>
Team team_of(const Sizes& sizes, const Form& form, bool normalised) {
  const bool large = sizes.row() * sizes.hidden * static_cast<int64_t>(sizeof(T)) > own_weight_bytes;
  return Team(sizes.batch, sizes.hidden, large && !form.ordered && !normalised, panel_columns<T>);
}

Results gated_lstm(const Operands& given, const Bias& given_bias, const Choices& choices, const Keeping& keeping) {
  const Form form = form_of(choices.auxiliary, choices.coupled, choices.ordered, choices.master_downsize);
  const Sizes sizes(given.x, given.recurrent_weight, form);
  check(given, form, sizes);
  const Tensor &x = given.x, &hidden = given.hidden, &cell = given.cell, &bias = given_bias.bias;
  const Tensor &input_weight = given.input_weight, &recurrent_weight = given.recurrent_weight;
  const optional<Tensor>&gain = given.gain, &cell_keep = given.cell_keep;
  const bool keep = keeping.keep;
  check_sizes("bias", bias, {sizes.row()});
  check_contiguous(bias);
  const auto& options = x.options();
  const int64_t kept = keep ? sizes.time : std::min(chunk_steps, sizes.time);
  const int64_t normals = gain ? kept : 0;
  Tensor hiddens = uninitialised({sizes.time, sizes.batch, sizes.hidden}, options);
  Tensor cells = uninitialised({sizes.time, sizes.batch, sizes.hidden}, options);
  Tensor gates = uninitialised({kept, sizes.batch, sizes.row()}, options);
  const Tensor new_cells = uninitialised({keep && cell_keep ? sizes.time : 0, sizes.batch, sizes.hidden}, options);
  Tensor normal = uninitialised({normals, sizes.batch, sizes.row()}, options);
  Tensor scales = uninitialised({normals, sizes.batch, sizes.blocks}, options);

  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "gated_lstm", [&] {
    using T = scalar_t;
    Team team = team_of<T>(sizes, form, gain.has_value());
    const RecurrentProduct<T> recurrent(recurrent_weight, sizes, team.by_units());
    const T* gains = gain ? gain->const_data_ptr<T>() : nullptr;
    const Keeps<T> keeps(given.hidden_keep, cell_keep);
    // Without gradients, zoneout may put the cells in their own place.
    T* computed = (new_cells.size(0) ? new_cells : cells).mutable_data_ptr<T>();
    const int64_t state = sizes.batch * sizes.hidden;
    for (int64_t first = 0; first < sizes.time; first += chunk_steps) {
      const int64_t steps = std::min(chunk_steps, sizes.time - first), place = keep ? first : 0;
      multiply_large<T, Left::plain, Right::transposed>(
          {x.const_data_ptr<T>() + first * sizes.batch * sizes.input, sizes.input},
          {input_weight.const_data_ptr<T>(), sizes.input}, steps * sizes.batch, sizes.row(), sizes.input,
          {gates.mutable_data_ptr<T>() + place * sizes.batch * sizes.row(), sizes.row()}, {});
      team.run([&](const Part& part) {
        const FlushDenormals flush;
        with_cell<T>(form, part.units, sizes.hidden, [&](auto recurrence) {
          for (int64_t step = 0; step < steps; ++step) {
            const int64_t now = first + step;
            const T* hidden_before =
                now ? hiddens.const_data_ptr<T>() + (now - 1) * state : hidden.const_data_ptr<T>();
            const T* cell_before = now ? cells.const_data_ptr<T>() + (now - 1) * state : cell.const_data_ptr<T>();
            T* rows = gates.mutable_data_ptr<T>() + (place + step) * sizes.batch * sizes.row();
            recurrent.accumulate(hidden_before, sizes.hidden, rows, part);
            for (int64_t row = part.row; row < part.row + part.rows; ++row) {
              T* gate_row = rows + row * sizes.row();
              if (gains) {
                const int64_t index = (place + step) * sizes.batch + row;
                normalise(gate_row, normal.mutable_data_ptr<T>() + index * sizes.row(),
                          scales.mutable_data_ptr<T>() + index * sizes.blocks, gains, sizes.blocks, sizes.hidden);
              }
              const int64_t unit = row * sizes.hidden + part.unit, index = now * state + unit;
              T* hidden_now = hiddens.mutable_data_ptr<T>() + index;
              recurrence.forward(gate_row + part.unit, bias.const_data_ptr<T>() + part.unit, cell_before + unit,
                                 computed + index, hidden_now);
              if (keeps.hidden)
                let_through(hidden_before + unit, hidden_now, keeps.hidden + index, hidden_now, part.units);
              if (keeps.cell)
                let_through(cell_before + unit, computed + index, keeps.cell + index,
                            cells.mutable_data_ptr<T>() + index, part.units);
            }
            team.meet(part);
          }
        });
      });
    }
  });
  if (!keep) gates = at::empty({0}, options), normal = at::empty({0}, options), scales = at::empty({0}, options);
  return {hiddens, cells, gates, new_cells, normal, scales};
}

// The gradient of all states, which may lie in memory in any way, or nothing.
template <typename T>
class StateGradients {
 public:
  explicit StateGradients(const optional<Tensor>& tensor)
      : data_(tensor ? tensor->const_data_ptr<T>() : nullptr),
        time_stride_(tensor ? tensor->stride(0) : 0),
        batch_stride_(tensor ? tensor->stride(1) : 0),
        unit_stride_(tensor ? tensor->stride(2) : 0) {}

  // Adds that of a step, as far as a part computes it, to `sums` [batch, hidden].
  void add_to(T* sums, int64_t step, const Part& part, int64_t hidden) const {
    if (!data_) return;
    for (int64_t row = part.row; row < part.row + part.rows; ++row) {
      const T* from = data_ + step * time_stride_ + row * batch_stride_ + part.unit * unit_stride_;
      add(from, unit_stride_, sums + row * hidden + part.unit, part.units);
    }
  }

 private:
  const T* data_;
  int64_t time_stride_, batch_stride_, unit_stride_;
};

// Puts what a step multiplies by its weights beside each other, as far as a part computes it.
template <typename T>
void join(const T* hidden, const T* input, const Part& part, const Sizes& sizes, T* joined) {
  for (int64_t row = part.row; row < part.row + part.rows; ++row) {
    T* place = joined + row * sizes.joined();
    copy(hidden + row * sizes.hidden + part.unit, part.units, place + part.unit);
    if (part.unit > 0) continue;
    copy(input + row * sizes.input, sizes.input, place + sizes.hidden);
    place[sizes.joined() - 1] = 1;
  }
}

ArgumentGradients gated_lstm_backward(const ResultGradients& of_results, const Operands& given, const Results& kept,
                                      const Choices& choices, const Wanted& wanted) {
  const Form form = form_of(choices.auxiliary, choices.coupled, choices.ordered, choices.master_downsize);
  const Sizes sizes(given.x, given.recurrent_weight, form);
  check(given, form, sizes);
  const Tensor &x = given.x, &hidden = given.hidden, &cell = given.cell;
  const Tensor &input_weight = given.input_weight, &recurrent_weight = given.recurrent_weight;
  const optional<Tensor>&gain = given.gain, &cell_keep = given.cell_keep;
  const Tensor &hiddens = kept.hiddens, &cells = kept.cells, &gates = kept.gates, &new_cells = kept.new_cells;
  const Tensor &normal = kept.normal, &scales = kept.scales;
  const bool want_x = wanted.want_x, want_weights = wanted.want_weights;
  check_contiguous({hiddens, cells, gates, new_cells, normal, scales});
  const auto& options = x.options();
  Tensor hidden_grad = at::zeros({sizes.batch, sizes.hidden}, options);
  Tensor cell_grad = at::zeros({sizes.batch, sizes.hidden}, options);
  // What the states before a step get of them by zoneout.
  const Tensor hidden_rest = at::zeros({sizes.batch, sizes.hidden}, options);
  const Tensor cell_rest = at::zeros({cell_keep ? sizes.batch : 0, sizes.hidden}, options);
  Tensor x_grad = want_x ? uninitialised(x.sizes(), options) : at::empty({0}, options);
  // Of all weights in one product, transposed: one with few columns would take as long as one with many.
  Tensor weight_grads = uninitialised({want_weights ? sizes.joined() : 0, sizes.row()}, options).zero_();
  // Of each row of the batch: the order of a sum must not be that in which threads come.
  Tensor gain_grads = at::zeros({gain ? sizes.batch : 0, sizes.row()}, options);
  Tensor scaled_bias_grads = at::zeros_like(gain_grads);
  const int64_t chunk = std::min(chunk_steps, sizes.time);
  Tensor grads = uninitialised({chunk, sizes.batch, sizes.row()}, options);
  const Tensor joined = uninitialised({want_weights ? chunk : 0, sizes.batch, sizes.joined()}, options);

  AT_DISPATCH_FLOATING_TYPES(x.scalar_type(), "gated_lstm_backward", [&] {
    using T = scalar_t;
    Team team = team_of<T>(sizes, form, gain.has_value());
    const PackedMatrix<T> recurrent(recurrent_weight.const_data_ptr<T>(), sizes.row(), sizes.hidden, sizes.hidden, 1,
                                    recurrent_weight.nbytes());
    const T* gains = gain ? gain->const_data_ptr<T>() : nullptr;
    const Keeps<T> keeps(given.hidden_keep, cell_keep);
    const T* computed = (keeps.cell ? new_cells : cells).const_data_ptr<T>();
    const StateGradients<T> of_hidden(of_results.hidden_grads), of_cell(of_results.cell_grads);
    const int64_t state = sizes.batch * sizes.hidden;
    T* carried = hidden_grad.mutable_data_ptr<T>();
    T* carried_cell = cell_grad.mutable_data_ptr<T>();
    T *rest = hidden_rest.mutable_data_ptr<T>(), *rest_cell = cell_rest.mutable_data_ptr<T>();
    for (int64_t end_step = sizes.time; end_step > 0; end_step -= std::min(chunk_steps, end_step)) {
      const int64_t steps = std::min(chunk_steps, end_step), first = end_step - steps;
      team.run([&](const Part& part) {
        const FlushDenormals flush;
        with_cell<T>(form, part.units, sizes.hidden, [&](auto recurrence) {
          for (int64_t step = steps - 1; step >= 0; --step) {
            const int64_t now = first + step;
            of_hidden.add_to(carried, now, part, sizes.hidden);
            of_cell.add_to(carried_cell, now, part, sizes.hidden);
            const T* cell_before = now ? cells.const_data_ptr<T>() + (now - 1) * state : cell.const_data_ptr<T>();
            const T* hidden_before =
                now ? hiddens.const_data_ptr<T>() + (now - 1) * state : hidden.const_data_ptr<T>();
            T* rows = grads.mutable_data_ptr<T>() + step * sizes.batch * sizes.row();
            if (want_weights)
              join(hidden_before, x.const_data_ptr<T>() + now * sizes.batch * sizes.input, part, sizes,
                   joined.mutable_data_ptr<T>() + step * sizes.batch * sizes.joined());
            for (int64_t row = part.row; row < part.row + part.rows; ++row) {
              const int64_t index = now * sizes.batch + row;
              const int64_t unit = row * sizes.hidden + part.unit, place = now * state + unit;
              T* grad_row = rows + row * sizes.row();
              if (keeps.hidden)
                let_through_backward(keeps.hidden + place, carried + unit, rest + unit, part.units);
              if (keeps.cell)
                let_through_backward(keeps.cell + place, carried_cell + unit, rest_cell + unit, part.units);
              recurrence.backward(gates.const_data_ptr<T>() + index * sizes.row() + part.unit, cell_before + unit,
                                  computed + place, carried + unit, carried_cell + unit, grad_row + part.unit);
              if (gains)
                normalise_backward(grad_row, normal.const_data_ptr<T>() + index * sizes.row(),
                                   scales.const_data_ptr<T>() + index * sizes.blocks, gains,
                                   gain_grads.mutable_data_ptr<T>() + row * sizes.row(),
                                   scaled_bias_grads.mutable_data_ptr<T>() + row * sizes.row(), sizes.blocks,
                                   sizes.hidden);
              copy(rest + unit, part.units, carried + unit);
              if (keeps.cell) add(rest_cell + unit, carried_cell + unit, part.units);
            }
            team.meet(part);
            recurrent.accumulate(rows + part.row * sizes.row(), sizes.row(), part.rows,
                                 carried + part.row * sizes.hidden, sizes.hidden, part.unit, part.unit + part.units);
          }
        });
      });
      if (want_x)
        multiply_large<T, Left::plain, Right::plain>(
            {grads.const_data_ptr<T>(), sizes.row()}, {input_weight.const_data_ptr<T>(), sizes.input},
            steps * sizes.batch, sizes.input, sizes.row(),
            {x_grad.mutable_data_ptr<T>() + first * sizes.batch * sizes.input, sizes.input}, {});
      if (want_weights)
        add_product<T>({joined.const_data_ptr<T>(), sizes.joined()}, sizes.joined(),
                       {grads.const_data_ptr<T>(), sizes.row()}, sizes.row(), steps * sizes.batch,
                       {weight_grads.mutable_data_ptr<T>(), sizes.row()});
    }
  });
  const auto gradient_of = [&](int64_t first, int64_t rows) {
    const Tensor grad = weight_grads.narrow(0, want_weights ? first : 0, want_weights ? rows : 0).t();
    return uninitialised(grad.sizes(), options).copy_(grad);
  };
  const Tensor bias_grad = gain ? scaled_bias_grads.sum(0) : gradient_of(sizes.hidden + sizes.input, 1).flatten();
  return {x_grad,    hidden_grad, cell_grad, gradient_of(sizes.hidden, sizes.input), gradient_of(0, sizes.hidden),
          bias_grad, gain ? gain_grads.sum(0) : at::empty({0}, options)};
}

// ---------------------------------------------------------------------------------------------------------
// Differentiation

struct GatedLSTM {
  static constexpr auto name = "gated_lstm";
  static constexpr auto forward = &gated_lstm;
  static constexpr auto backward = &gated_lstm_backward;

  static std::tuple<Operands, Results, Choices, Wanted> saved(const Results& results, const Operands& operands,
                                                              const Bias& bias, const Choices& choices,
                                                              const Keeping&) {
    const bool of_weights = wants_gradient(operands.input_weight) || wants_gradient(operands.recurrent_weight);
    return {operands, results, choices, {wants_gradient(operands.x), of_weights || wants_gradient(bias.bias)}};
  }

  template <typename... Arguments>
  static Variables constant(const Results& results, const Arguments&...) {
    return {results.gates, results.new_cells, results.normal, results.scales};
  }
};

}  // namespace
}  // namespace rmem

TORCH_LIBRARY_FRAGMENT(rmem, library) { rmem::Differentiable<rmem::GatedLSTM>::define(library); }
