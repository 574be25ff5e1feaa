// Recurrences whose state is turned by layers of rotations: all steps of a sequence in one call, and all steps of its
// gradient in another. EUNN has no gates; GORU has two, each of which can be left out.
//
// Everything is time first. ops/unitary/README.md derives the formulas.

#include <ATen/ATen.h>
#include <ATen/Dispatch.h>
#include <torch/library.h>

#include "common/buffers.h"
#include "common/caches.h"
#include "common/denormals.h"
#include "common/differentiation.h"
#include "common/elementwise.h"
#include "common/operands.h"
#include "gates/team.h"
#include "product/large_product.h"
#include "product/product.h"
#include "unitary/layers.h"

#include <algorithm>
#include <optional>
#include <vector>

namespace rmem {
namespace {

// ---------------------------------------------------------------------------------------------------------
// Arguments and results

#define UNITARY_OPERANDS(each)                                                                                  \
  each(Tensor, x)                 /* [time, batch, input] */                                                    \
  each(Tensor, hidden)            /* [batch, width]: of a complex state, real parts, then imaginary parts */    \
  each(Tensor, input)             /* of candidate, reset gate, update gate: [input, width + gates hidden] */    \
  each(Tensor, recurrent)         /* of the gates: [hidden, gates hidden] */                                    \
  each(Tensor, gate_bias)         /* [gates hidden] */                                                          \
  each(Tensor, bias)              /* of the modReLU: [hidden] */                                                \
  each(Tensor, own)               /* what a layer multiplies each unit by: [layers, hidden] */                  \
  each(Tensor, other)             /* and what its partner: [layers, hidden] */                                  \
  each(optional<Tensor>, rotors)  /* cosines and sines of phases, complex: [layers + 1, 2, hidden] */           \
  each(optional<Tensor>, keep)    /* share that zoneout lets through: [time, batch, hidden] */
RMEM_RECORD(Operands, UNITARY_OPERANDS)

#define UNITARY_CHOICES(each)                          \
  each(bool, fft)                                      \
  each(bool, reset_gate)                               \
  each(bool, update_gate)
RMEM_RECORD(Choices, UNITARY_CHOICES)

#define UNITARY_KEEPING(each) each(bool, keeps) /* what the gradient needs */
RMEM_RECORD(Keeping, UNITARY_KEEPING)

#define UNITARY_RESULTS(each)                                                                                        \
  each(Tensor, outputs)    /* [time, batch, width] */                                                                \
  each(Tensor, candidates) /* behind the modReLU, or before it if complex: as outputs; empty where they are these */ \
  each(Tensor, gates)      /* [time, batch, gates hidden]; this and the candidates are empty unless they are kept */
RMEM_RECORD(Results, UNITARY_RESULTS)

#define UNITARY_RESULT_GRADIENTS(each) each(optional<Tensor>, outputs_grad) /* nothing where there is none */
RMEM_RECORD(ResultGradients, UNITARY_RESULT_GRADIENTS)

#define UNITARY_WANTED(each) /* gradients: */ \
  each(bool, want_x)                          \
  each(bool, want_weights)
RMEM_RECORD(Wanted, UNITARY_WANTED)

#define UNITARY_GRADIENTS(each) /* those that are not wanted, or of what is not there, are empty */ \
  each(Tensor, x)                                                                                   \
  each(Tensor, hidden)                                                                              \
  each(Tensor, input)                                                                               \
  each(Tensor, recurrent)                                                                           \
  each(Tensor, gate_bias)                                                                           \
  each(Tensor, bias)                                                                                \
  each(Tensor, own)                                                                                 \
  each(Tensor, other)                                                                               \
  each(Tensor, rotors)
RMEM_RECORD(ArgumentGradients, UNITARY_GRADIENTS)

// Steps after which the threads meet, to work on large products together.
constexpr int64_t chunk_steps = 64;
constexpr double modrelu_eps = 1e-5;

struct Sizes {
  int64_t time, batch, input, hidden, width, gates, layers;

  Sizes(const Operands& given, const Choices& choices)
      : time(given.x.size(0)),
        batch(given.x.size(1)),
        input(given.x.size(2)),
        hidden(given.bias.size(0)),
        width(given.rotors ? 2 * hidden : hidden),
        gates(choices.reset_gate + choices.update_gate),
        layers(given.own.size(0)) {}

  int64_t gate_row() const { return gates * hidden; }
  int64_t row() const { return width + gate_row(); }
  int64_t groups() const { return (batch + group_rows - 1) / group_rows; }
  bool complex() const { return width > hidden; }
};

void check(const Operands& given, const Choices& choices, const Sizes& sizes) {
  TORCH_CHECK(sizes.time > 0, "a sequence has no step");
  TORCH_CHECK(!sizes.complex() || (sizes.gates == 0 && !given.keep), "a complex state has no gates and no zoneout");
  TORCH_CHECK(!choices.fft || sizes.layers < 63, "there are ", sizes.layers, " layers");
  check_sizes("input", given.x, {sizes.time, sizes.batch, sizes.input});
  check_sizes("hidden state", given.hidden, {sizes.batch, sizes.width});
  check_sizes("kernel of the input", given.input, {sizes.input, sizes.row()});
  check_sizes("kernel of the gates", given.recurrent, {sizes.hidden, sizes.gate_row()});
  check_sizes("bias of the gates", given.gate_bias, {sizes.gate_row()});
  check_sizes("bias of the modReLU", given.bias, {sizes.hidden});
  check_sizes("own factors of the layers", given.own, {sizes.layers, sizes.hidden});
  check_sizes("other factors of the layers", given.other, {sizes.layers, sizes.hidden});
  check_sizes("phases", given.rotors, {sizes.layers + 1, 2, sizes.hidden});
  check_sizes("share that zoneout lets through", given.keep, {sizes.time, sizes.batch, sizes.hidden});
  check_contiguous({given.x, given.hidden, given.input, given.recurrent, given.gate_bias, given.bias, given.own,
                    given.other});
  for (const auto& each : {given.rotors, given.keep})
    if (each) check_contiguous(*each);
}

// ---------------------------------------------------------------------------------------------------------
// One step of one row

// Places of a row's numbers, and how a step goes from one to the next.
template <typename T>
struct Cell {
  using V = Vector<T>;

  int64_t size;
  bool reset_gate, update_gate;
  const T *bias, *gate_bias;

  int64_t update_place() const { return reset_gate ? size : 0; }

  // From what the input gives, in the places of candidate and gates, to these; `turned` is the state behind the layers.
  void forward(const T* before, const T* turned, T* candidate, T* gates, const T* keep, T* after) const {
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const auto opened = [&](int64_t place) {
        const V gate = sigmoid(load(gates + place + first, count) + load(gate_bias + place + first, count));
        store(gate, gates + place + first, count);
        return gate;
      };
      const V old = load(before + first, count);
      V z = load(turned + first, count);
      if (reset_gate) z = z * opened(0);
      V now = mod_relu(z + load(candidate + first, count), load(bias + first, count));
      store(now, candidate + first, count);
      if (update_gate) now = at::vec::fmadd(opened(update_place()), old - now, now);
      if (keep) {
        const V share = load(keep + first, count);
        now = share * now + (V(1) - share) * old;
      }
      store(now, after + first, count);
    });
  }

  // `grad` is the gradient of the state after the step; becomes that of the state before, but for the layers'. Leaves
  // that of what the layers gave, and of candidate and gates before their activation; adds to those of the biases.
  void backward(const T* before, const T* turned, const T* candidate, const T* gates, const T* keep, T* grad,
                T* turned_grad, T* candidate_grad, T* gate_grads, T* bias_sums, T* gate_bias_sums) const {
    const V zero(0), one(1);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const auto leave = [&](int64_t place, const V& gate_grad) {
        store(gate_grad, gate_grads + place + first, count);
        store(load(gate_bias_sums + place + first, count) + gate_grad, gate_bias_sums + place + first, count);
      };
      V now = load(grad + first, count), rest = zero;
      if (keep) {
        const V share = load(keep + first, count);
        rest = (one - share) * now;
        now = share * now;
      }
      const V chosen = load(candidate + first, count);
      if (update_gate) {
        const V gate = load(gates + update_place() + first, count);
        leave(update_place(), now * (load(before + first, count) - chosen) * gate * (one - gate));
        rest = at::vec::fmadd(gate, now, rest);
        now = (one - gate) * now;
      }
      store(rest, grad + first, count);
      // A candidate that is zero was cut off, or has no direction.
      const V z_grad = V::blendv(now, zero, chosen == zero);
      store(z_grad, candidate_grad + first, count);
      store(load(bias_sums + first, count) + V::blendv(z_grad, zero - z_grad, chosen < zero), bias_sums + first, count);
      if (reset_gate) {
        const V gate = load(gates + first, count);
        leave(0, z_grad * load(turned + first, count) * gate * (one - gate));
        store(z_grad * gate, turned_grad + first, count);
      } else {
        store(z_grad, turned_grad + first, count);
      }
    });
  }

  // The same of complex numbers, whose planes lie `apart` in what is turned and `size` elsewhere; there are no gates.
  void forward_complex(const T* turned, int64_t apart, T* z, T* after) const {
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V real = load(turned + first, count) + load(z + first, count);
      const V imaginary = load(turned + apart + first, count) + load(z + size + first, count);
      store(real, z + first, count);
      store(imaginary, z + size + first, count);
      const V length = length_of(real, imaginary) + V(modrelu_eps);
      const V scale = at::vec::maximum(length + load(bias + first, count), V(0)) / length;
      store(scale * real, after + first, count);
      store(scale * imaginary, after + size + first, count);
    });
  }

  void backward_complex(const T* z, T* grad, T* turned_grad, int64_t apart, T* z_grad, T* bias_sums) const {
    const V zero(0);
    each_vector<T>(size, [&](int64_t first, int64_t count) {
      const V real = load(z + first, count), imaginary = load(z + size + first, count);
      const V real_grad = load(grad + first, count), imaginary_grad = load(grad + size + first, count);
      const V shift = load(bias + first, count), length = length_of(real, imaginary);
      const V raised = length + V(modrelu_eps), cut = raised + shift <= zero;
      const V along = V::blendv((real * real_grad + imaginary * imaginary_grad) / raised, zero, cut);
      const V scale = V::blendv((raised + shift) / raised, zero, cut);
      // Where the number is zero, there is nothing along it.
      const V change = V::blendv(along * shift / (raised * length), zero, length == zero);
      store(load(bias_sums + first, count) + along, bias_sums + first, count);
      const V of_real = scale * real_grad - change * real;
      const V of_imaginary = scale * imaginary_grad - change * imaginary;
      store(of_real, z_grad + first, count);
      store(of_imaginary, z_grad + size + first, count);
      store(of_real, turned_grad + first, count);
      store(of_imaginary, turned_grad + apart + first, count);
      store(zero, grad + first, count);
      store(zero, grad + size + first, count);
    });
  }

 private:
  // The sign of zero is zero. The maximum, unlike that of the processor, is no number where one is none.
  static V mod_relu(const V& z, const V& bias) {
    const V zero(0);
    const V size = at::vec::maximum(z.abs() + V(modrelu_eps) + bias, zero);
    return V::blendv(V::blendv(size, zero - size, z < zero), z, z == zero);
  }

  static V length_of(const V& real, const V& imaginary) { return (real * real + imaginary * imaginary).sqrt(); }
};

// ---------------------------------------------------------------------------------------------------------
// Sequences

template <typename T>
T* data_of(const Tensor& tensor) {
  return tensor.numel() ? tensor.mutable_data_ptr<T>() : nullptr;
}

// How the threads share the steps of a sequence: by groups of rows or, for products with large kernels, by columns of
// the product, and by groups for all else.
template <typename T>
class Sharing {
 public:
  Sharing(const Sizes& sizes, int64_t columns)
      : sizes_(sizes),
        columns_(std::max<int64_t>(columns, 1)),
        team_(sizes.groups(), columns_, is_large(sizes), panel_columns<T>, 1) {}

  template <typename Body>
  void run(Body&& body) {
    team_.run(body);
  }

  void meet(const Part& part) { team_.meet(part); }

  // Calls body(first row, rows, group) for the groups of a part.
  template <typename Body>
  void each_group(const Part& part, Body&& body) const {
    const auto share = [&](int64_t column) { return sizes_.groups() * column / columns_; };
    const bool by_units = team_.by_units();
    const int64_t begin = by_units ? share(part.unit) : part.row;
    const int64_t end = by_units ? share(part.unit + part.units) : part.row + part.rows;
    for (int64_t group = begin; group < end; ++group)
      body(group * group_rows, std::min(group_rows, sizes_.batch - group * group_rows), group);
  }

  // result += left @ matrix for the rows and columns of a part.
  void accumulate(const PackedMatrix<T>& matrix, const T* left, int64_t left_stride, T* result, int64_t result_stride,
                  const Part& part) const {
    const int64_t row = part.row * group_rows, rows = std::min(part.rows * group_rows, sizes_.batch - row);
    matrix.accumulate(left + row * left_stride, left_stride, rows, result + row * result_stride, result_stride,
                      part.unit, part.unit + part.units);
  }

 private:
  static bool is_large(const Sizes& sizes) {
    return sizes.hidden * sizes.gate_row() * static_cast<int64_t>(sizeof(T)) > own_weight_bytes;
  }

  const Sizes& sizes_;
  int64_t columns_;
  Team team_;
};

template <typename T>
Cell<T> cell_of(const Operands& given, const Choices& choices, const Sizes& sizes) {
  return {sizes.hidden, choices.reset_gate, choices.update_gate, given.bias.const_data_ptr<T>(),
          given.gate_bias.const_data_ptr<T>()};
}

Results unitary_rnn(const Operands& given, const Choices& choices, const Keeping& keeping) {
  const Sizes sizes(given, choices);
  check(given, choices, sizes);
  const auto& options = given.x.options();
  const bool keeps = keeping.keeps, apart = sizes.complex() || choices.update_gate || given.keep;
  const int64_t chunk = std::min(chunk_steps, sizes.time), kept = keeps ? sizes.time : chunk;
  const Tensor outputs = uninitialised({sizes.time, sizes.batch, sizes.width}, options);
  Tensor candidates = uninitialised({apart ? kept : 0, sizes.batch, sizes.width}, options);
  Tensor gates = uninitialised({sizes.gates ? kept : 0, sizes.batch, sizes.gate_row()}, options);

  AT_DISPATCH_FLOATING_TYPES(given.x.scalar_type(), "unitary_rnn", [&] {
    using T = scalar_t;
    const Layers<T> layers(given.own, given.other, given.rotors, choices.fft);
    const Cell<T> cell = cell_of<T>(given, choices, sizes);
    const PackedMatrix<T> recurrent(given.recurrent.const_data_ptr<T>(), sizes.hidden, sizes.gate_row(),
                                    sizes.gate_row(), 1, given.recurrent.nbytes());
    Sharing<T> sharing(sizes, sizes.gate_row());
    const T* keep = given.keep ? given.keep->const_data_ptr<T>() : nullptr;
    const int64_t state = sizes.batch * sizes.width, gate_state = sizes.batch * sizes.gate_row();
    for (int64_t first = 0; first < sizes.time; first += chunk) {
      const int64_t steps = std::min(chunk, sizes.time - first), place = keeps ? first : 0;
      T* chosen = apart ? data_of<T>(candidates) + place * state : data_of<T>(outputs) + first * state;
      T* opened = sizes.gates ? data_of<T>(gates) + place * gate_state : nullptr;
      const Matrix<const T> x{given.x.const_data_ptr<T>() + first * sizes.batch * sizes.input, sizes.input};
      const Matrix<const T> kernel{given.input.const_data_ptr<T>(), sizes.row()};
      const int64_t rows = steps * sizes.batch;
      multiply_large<T, Left::plain, Right::plain>(x, kernel, rows, sizes.width, sizes.input, {chosen, sizes.width}, {});
      if (sizes.gates)
        multiply_large<T, Left::plain, Right::plain>(x, kernel.from_column(sizes.width), rows, sizes.gate_row(),
                                                     sizes.input, {opened, sizes.gate_row()}, {});
      sharing.run([&](const Part& part) {
        const FlushDenormals flush;
        const Tensor room = uninitialised({layers.group_size()}, options);
        T* lines = room.template mutable_data_ptr<T>();
        for (int64_t step = 0; step < steps; ++step) {
          const int64_t now = first + step;
          const T* before = now ? outputs.const_data_ptr<T>() + (now - 1) * state : given.hidden.const_data_ptr<T>();
          T* after = outputs.mutable_data_ptr<T>() + now * state;
          if (sizes.gates) {
            sharing.accumulate(recurrent, before, sizes.width, opened + step * gate_state, sizes.gate_row(), part);
            sharing.meet(part);
          }
          sharing.each_group(part, [&](int64_t begin, int64_t count, int64_t) {
            layers.take_in(before + begin * sizes.width, count, lines);
            layers.forward(lines, count);
            for (int64_t row = begin; row < begin + count; ++row) {
              const T* turned = lines + layers.lines(row - begin) * layers.width;
              const int64_t at = row * sizes.width;
              T* candidate = chosen + step * state + at;
              if (sizes.complex()) {
                cell.forward_complex(turned, layers.width, candidate, after + at);
              } else {
                T* gate = sizes.gates ? opened + step * gate_state + row * sizes.gate_row() : nullptr;
                cell.forward(before + at, turned, candidate, gate, keep ? keep + now * state + at : nullptr, after + at);
              }
            }
          });
          if (sizes.gates) sharing.meet(part);
        }
      });
    }
  });
  if (!(keeps && apart)) candidates = at::empty({0}, options);
  if (!(keeps && sizes.gates)) gates = at::empty({0}, options);
  return {outputs, candidates, gates};
}

// The gradient of all outputs, which may lie in memory in any way, or nothing.
template <typename T>
class OutputGradients {
 public:
  explicit OutputGradients(const optional<Tensor>& tensor) : tensor_(tensor) {}

  // Adds those of some rows of a step.
  void add_to(T* sums, int64_t step, int64_t begin, int64_t count, int64_t size) const {
    if (!tensor_) return;
    for (int64_t row = begin; row < begin + count; ++row)
      add(tensor_->const_data_ptr<T>() + step * tensor_->stride(0) + row * tensor_->stride(1), tensor_->stride(2),
          sums + row * size, size);
  }

 private:
  const optional<Tensor>& tensor_;
};

// Of the numbers that a step adds up over rows and steps: each group of rows has its own, or the sums would depend on
// which thread comes first.
struct GroupSums {
  const Tensor coefficients, bias, gate_bias;

  template <typename T>
  GroupSums(const Sizes& sizes, const Layers<T>& layers, const at::TensorOptions& options)
      : coefficients(at::zeros({sizes.groups(), layers.sums_size()}, options)),
        bias(at::zeros({sizes.groups(), sizes.hidden}, options)),
        gate_bias(at::zeros({sizes.groups(), sizes.gate_row()}, options)) {}
};

template <typename T>
T* row_of(const Tensor& tensor, int64_t row) {
  return tensor.mutable_data_ptr<T>() + row * tensor.size(1);
}

ArgumentGradients unitary_rnn_backward(const ResultGradients& of_results, const Operands& given, const Results& kept,
                                       const Choices& choices, const Wanted& wanted) {
  const Sizes sizes(given, choices);
  check(given, choices, sizes);
  check_contiguous({kept.outputs, kept.candidates, kept.gates});
  const auto& options = given.x.options();
  const bool want_weights = wanted.want_weights;
  const int64_t chunk = std::min(chunk_steps, sizes.time);
  const Tensor x_grad = wanted.want_x ? uninitialised(given.x.sizes(), options) : at::empty({0}, options);
  const Tensor hidden_grad = at::zeros({sizes.batch, sizes.width}, options);
  const Tensor input_grad = at::zeros({want_weights ? sizes.input : 0, sizes.row()}, options);
  const Tensor recurrent_grad = at::zeros({want_weights ? sizes.hidden : 0, sizes.gate_row()}, options);
  const Tensor own_grad = at::empty_like(given.own), other_grad = at::empty_like(given.other);
  const Tensor rotors_grad = given.rotors ? at::empty_like(*given.rotors) : at::empty({0}, options);
  const Tensor grads = uninitialised({chunk, sizes.batch, sizes.row()}, options);
  Tensor bias_grad, gate_bias_grad;

  AT_DISPATCH_FLOATING_TYPES(given.x.scalar_type(), "unitary_rnn_backward", [&] {
    using T = scalar_t;
    const Layers<T> layers(given.own, given.other, given.rotors, choices.fft);
    const Cell<T> cell = cell_of<T>(given, choices, sizes);
    const PackedMatrix<T> recurrent(given.recurrent.const_data_ptr<T>(), sizes.gate_row(), sizes.hidden, 1,
                                    sizes.gate_row(), given.recurrent.nbytes());
    Sharing<T> sharing(sizes, sizes.hidden);
    const GroupSums sums(sizes, layers, options);
    const OutputGradients<T> of_outputs(of_results.outputs_grad);
    const T* keep = given.keep ? given.keep->const_data_ptr<T>() : nullptr;
    const T* candidates = (kept.candidates.numel() ? kept.candidates : kept.outputs).template const_data_ptr<T>();
    const T* gates = sizes.gates ? kept.gates.const_data_ptr<T>() : nullptr;
    const int64_t state = sizes.batch * sizes.width, gate_state = sizes.batch * sizes.gate_row();
    T *carried = hidden_grad.mutable_data_ptr<T>(), *all_grads = grads.mutable_data_ptr<T>();
    const auto state_before = [&](int64_t step) {
      return step ? kept.outputs.const_data_ptr<T>() + (step - 1) * state : given.hidden.const_data_ptr<T>();
    };
    for (int64_t end_step = sizes.time; end_step > 0; end_step -= std::min(chunk, end_step)) {
      const int64_t steps = std::min(chunk, end_step), first = end_step - steps;
      sharing.run([&](const Part& part) {
        const FlushDenormals flush;
        const Tensor room = uninitialised({layers.stages() + 2, layers.group_size()}, options);
        T* states = row_of<T>(room, 0);
        // Some layers leave the padding as it is, and the partner of a last unit may lie there.
        std::fill_n(states, room.numel(), T(0));
        const T* turned = row_of<T>(room, layers.stages());
        T* turned_grads = row_of<T>(room, layers.stages() + 1);
        for (int64_t step = steps - 1; step >= 0; --step) {
          const int64_t now = first + step;
          const T* before = state_before(now);
          T* step_grads = all_grads + step * sizes.batch * sizes.row();
          sharing.each_group(part, [&](int64_t begin, int64_t count, int64_t group) {
            of_outputs.add_to(carried, now, begin, count, sizes.width);
            layers.take_in(before + begin * sizes.width, count, states);
            layers.forward_kept(states, count);
            // The padding of a line has no gradient.
            std::fill_n(turned_grads, layers.lines(count) * layers.width, T(0));
            for (int64_t row = begin; row < begin + count; ++row) {
              const int64_t line = layers.lines(row - begin) * layers.width, at = row * sizes.width;
              T* grad_row = step_grads + row * sizes.row();
              T* bias_sums = row_of<T>(sums.bias, group);
              const T* candidate = candidates + now * state + at;
              if (sizes.complex()) {
                cell.backward_complex(candidate, carried + at, turned_grads + line, layers.width, grad_row, bias_sums);
              } else {
                cell.backward(before + at, turned + line, candidate,
                              gates ? gates + now * gate_state + row * sizes.gate_row() : nullptr,
                              keep ? keep + now * state + at : nullptr, carried + at, turned_grads + line, grad_row,
                              grad_row + sizes.width, bias_sums, row_of<T>(sums.gate_bias, group));
              }
            }
            layers.backward(states, turned_grads, row_of<T>(sums.coefficients, group), count);
            layers.add_to(turned_grads, count, carried + begin * sizes.width);
          });
          if (sizes.gates) {
            sharing.meet(part);
            sharing.accumulate(recurrent, step_grads + sizes.width, sizes.row(), carried, sizes.width, part);
            sharing.meet(part);
          }
        }
      });
      const int64_t rows = steps * sizes.batch;
      const Matrix<const T> of_rows{all_grads, sizes.row()};
      if (wanted.want_x)
        multiply_large<T, Left::plain, Right::transposed>(
            of_rows, {given.input.const_data_ptr<T>(), sizes.row()}, rows, sizes.input, sizes.row(),
            {x_grad.mutable_data_ptr<T>() + first * sizes.batch * sizes.input, sizes.input}, {});
      if (!want_weights) continue;
      add_product<T>({given.x.const_data_ptr<T>() + first * sizes.batch * sizes.input, sizes.input}, sizes.input,
                     of_rows, sizes.row(), rows, {input_grad.mutable_data_ptr<T>(), sizes.row()});
      if (!sizes.gates) continue;
      // The states before these steps lie one behind the other, but for the first of the sequence.
      const Matrix<T> to{recurrent_grad.mutable_data_ptr<T>(), sizes.gate_row()};
      const int64_t alone = first == 0 ? 1 : 0;
      const Matrix<const T> of_gates = of_rows.from_column(sizes.width);
      if (alone)
        add_product<T>({state_before(0), sizes.width}, sizes.hidden, of_gates, sizes.gate_row(), sizes.batch, to);
      if (steps > alone)
        add_product<T>({state_before(first + alone), sizes.width}, sizes.hidden, of_gates.from_row(alone * sizes.batch),
                       sizes.gate_row(), (steps - alone) * sizes.batch, to);
    }
    bias_grad = sums.bias.sum(0);
    gate_bias_grad = sums.gate_bias.sum(0);
    layers.give_out(sums.coefficients.sum(0).template const_data_ptr<T>(), own_grad.mutable_data_ptr<T>(),
                    other_grad.mutable_data_ptr<T>(), data_of<T>(rotors_grad));
  });
  return {x_grad, hidden_grad, input_grad, recurrent_grad, gate_bias_grad, bias_grad, own_grad, other_grad, rotors_grad};
}

// ---------------------------------------------------------------------------------------------------------
// Differentiation

struct UnitaryRNN {
  static constexpr auto name = "unitary_rnn";
  static constexpr auto forward = &unitary_rnn;
  static constexpr auto backward = &unitary_rnn_backward;

  static std::tuple<Operands, Results, Choices, Wanted> saved(const Results& results, const Operands& operands,
                                                              const Choices& choices, const Keeping&) {
    const bool of_weights = wants_gradient(operands.input) || wants_gradient(operands.recurrent);
    return {operands, results, choices, {wants_gradient(operands.x), of_weights}};
  }

  template <typename... Arguments>
  static Variables constant(const Results& results, const Arguments&...) {
    return {results.candidates, results.gates};
  }
};

}  // namespace
}  // namespace rmem

TORCH_LIBRARY_FRAGMENT(rmem, library) { rmem::Differentiable<rmem::UnitaryRNN>::define(library); }
