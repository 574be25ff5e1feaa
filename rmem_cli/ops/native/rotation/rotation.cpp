// The rotational unit of memory: all steps of a sequence in one call, and all steps of its gradient in another.
//
// ops/rotation/README.md derives the formulas. Each thread takes its rows of the batch through a whole chunk of
// steps by itself.

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
#include "product/large_product.h"
#include "product/product.h"
#include "rotation/rotations.h"
#include "rotation/rum_form.h"
#include "rotation/rum_update.h"

#include <algorithm>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

namespace rmem {
namespace {

// ---------------------------------------------------------------------------------------------------------
// Arguments and results

#define RUM_OPERANDS(each)                                                                      \
  each(Tensor, x)                 /* [batch, time, input] */                                    \
  each(Tensor, hidden)            /* [batch, hidden] */                                         \
  each(optional<Tensor>, memory)  /* [batch, hidden, hidden] */                                 \
  each(Tensor, embedding)         /* [input, hidden], as all kernels for the input */           \
  each(Tensor, target)            /* [input + hidden, hidden] */                                \
  each(optional<Tensor>, gate)    /* [input + hidden, hidden] */                                \
  each(optional<Tensor>, norms)   /* gain and bias of each layer norm: [norms, 2, hidden] */    \
  each(optional<Tensor>, keep)    /* share that zoneout keeps: [batch, time, hidden] */         \
  each(optional<Tensor>, active)  /* whether a step counts: [batch, time] */
RMEM_RECORD(Operands, RUM_OPERANDS)

#define RUM_BIASES(each) /* [hidden] */  \
  each(optional<Tensor>, embedding_bias) \
  each(optional<Tensor>, target_bias)    \
  each(optional<Tensor>, gate_bias)
RMEM_RECORD(Biases, RUM_BIASES)

#define RUM_CHOICES(each) /* see `RUMOptions` */ \
  each(std::string, activation)                  \
  each(std::string, layer_norm)                  \
  each(optional<double>, eta)                    \
  each(double, eps)
RMEM_RECORD(Choices, RUM_CHOICES)

#define RUM_KEEPING(each) each(bool, keeps) /* what the gradient needs */
RMEM_RECORD(Keeping, RUM_KEEPING)

#define RUM_RESULTS(each)                                                                              \
  each(Tensor, outputs)  /* [batch, time, hidden] */                                                   \
  each(Tensor, last)     /* hidden state: [batch, hidden] */                                           \
  each(Tensor, memory)   /* the last one: [batch, hidden, hidden], or empty */                         \
  each(Tensor, cosines)  /* of the angles: [batch, time] */                                            \
  each(Tensor, parts)    /* see `Saved`; this and what follows is empty unless it is kept */           \
  each(Tensor, rotated)  /* see `Saved` */                                                             \
  each(Tensor, copies)   /* of the memory, one for every `copy_steps`: [copies, batch, hidden, hidden] */
RMEM_RECORD(Results, RUM_RESULTS)

#define RUM_RESULT_GRADIENTS(each)  /* nothing where there is none */ \
  each(optional<Tensor>, outputs_grad)                               \
  each(optional<Tensor>, hidden_grad)                                \
  each(optional<Tensor>, memory_grad)                                \
  each(optional<Tensor>, cosines_grad)
RMEM_RECORD(ResultGradients, RUM_RESULT_GRADIENTS)

#define RUM_KEPT(each) /* results */ \
  each(Tensor, outputs)              \
  each(Tensor, last_memory)          \
  each(Tensor, parts)                \
  each(Tensor, rotated)              \
  each(Tensor, copies)
RMEM_RECORD(Kept, RUM_KEPT)

#define RUM_WANTED(each)     /* gradients: */                          \
  each(bool, want_x)                                                   \
  each(bool, want_memory)                                              \
  each(bool, want_embedding) /* of its map */                          \
  each(bool, want_rotation)  /* of the maps to the target and the gate */
RMEM_RECORD(Wanted, RUM_WANTED)

#define RUM_GRADIENTS(each) /* those that are not wanted, or of what is not there, are empty */ \
  each(Tensor, x)                                                                               \
  each(Tensor, hidden)                                                                          \
  each(Tensor, memory)                                                                          \
  each(Tensor, embedding)                                                                       \
  each(Tensor, embedding_bias)                                                                  \
  each(Tensor, target)                                                                          \
  each(Tensor, target_bias)                                                                     \
  each(Tensor, gate)                                                                            \
  each(Tensor, gate_bias)                                                                       \
  each(Tensor, norms)
RMEM_RECORD(ArgumentGradients, RUM_GRADIENTS)

// ---------------------------------------------------------------------------------------------------------
// Sequences

// Of rows that lie one behind the other.
template <typename T>
Matrix<const T> matrix_of(const Tensor& tensor) {
  return {tensor.const_data_ptr<T>(), tensor.size(-1)};
}

template <typename T>
void copy_rows(Matrix<const T> from, int64_t rows, int64_t columns, Matrix<T> to) {
  for (int64_t row = 0; row < rows; ++row) std::copy_n(from.row(row), columns, to.row(row));
}

optional<Tensor> contiguous(const optional<Tensor>& tensor) {
  return tensor ? optional<Tensor>(tensor->contiguous()) : std::nullopt;
}

// The maps to embedded inputs, targets and gates. The rows of a kernel are those for the input and, but for the
// embedding, those for the hidden state; a bias may be missing, and the gate.
struct Maps {
  const Tensor embedding, target;
  const optional<Tensor> gate, embedding_bias, target_bias, gate_bias;

  explicit Maps(const Operands& operands, const Biases& biases = {})
      : embedding(operands.embedding.contiguous()),
        target(operands.target.contiguous()),
        gate(contiguous(operands.gate)),
        embedding_bias(contiguous(biases.embedding_bias)),
        target_bias(contiguous(biases.target_bias)),
        gate_bias(contiguous(biases.gate_bias)) {}

  // For the input, all of them beside each other: [input, row].
  template <typename T>
  Tensor of_inputs(const Sizes& sizes) const {
    const Tensor joined = uninitialised({sizes.input, sizes.row()}, embedding.options());
    const Matrix<T> to{joined.mutable_data_ptr<T>(), sizes.row()};
    copy_rows(matrix_of<T>(embedding), sizes.input, sizes.hidden, to);
    copy_rows(matrix_of<T>(target), sizes.input, sizes.hidden, to.from_column(sizes.hidden));
    if (gate) copy_rows(matrix_of<T>(*gate), sizes.input, sizes.hidden, to.from_column(2 * sizes.hidden));
    return joined;
  }

  // For the hidden state: [hidden, row - hidden].
  template <typename T>
  Tensor of_states(const Sizes& sizes) const {
    const Tensor joined = uninitialised({sizes.hidden, sizes.state_row()}, embedding.options());
    const Matrix<T> to{joined.mutable_data_ptr<T>(), sizes.state_row()};
    copy_rows(matrix_of<T>(target).from_row(sizes.input), sizes.hidden, sizes.hidden, to);
    if (gate)
      copy_rows(matrix_of<T>(*gate).from_row(sizes.input), sizes.hidden, sizes.hidden, to.from_column(sizes.hidden));
    return joined;
  }

  // [row]
  template <typename T>
  std::vector<T> biases(const Sizes& sizes) const {
    std::vector<T> joined(sizes.row());
    T* place = joined.data();
    for (const optional<Tensor>* bias : {&embedding_bias, &target_bias, &gate_bias}) {
      if (*bias) std::copy_n((*bias)->const_data_ptr<T>(), sizes.hidden, place);
      place += sizes.hidden;
    }
    return joined;
  }
};

// What both passes are given; norms and hidden states are contiguous.
struct Problem {
  const Tensor &x, &hidden;  // [batch, time, input], [batch, hidden]
  const Maps& maps;
  const optional<Tensor>&norms, &keep, &active;  // [norms, 2, hidden], [batch, time, hidden], [batch, time]
  Form form;
  Sizes sizes = Sizes(x, hidden, maps.gate.has_value());

  template <typename T>
  const T* norm_weights() const {
    return norms ? norms->const_data_ptr<T>() : nullptr;
  }
};

Problem problem_of(const Operands& operands, const Maps& maps, const Choices& choices) {
  return {operands.x,    operands.hidden, maps, operands.norms, operands.keep, operands.active,
          form_of(choices.activation, choices.layer_norm, choices.eta, choices.eps)};
}

// The target of a row's rotation, behind its layer norm if there is one.
template <typename T>
class Target {
 public:
  explicit Target(const Problem& problem)
      : normal_(problem.norms ? problem.sizes.hidden : 0), value_(problem.norms ? problem.sizes.hidden : 0) {
    if (problem.norms) norm_ = LayerNorm<T>(problem.norm_weights<T>(), target_norm, problem.sizes.hidden);
  }

  const T* forward(const T* raw) {
    if (!norm_.gain) return raw;
    scale_ = norm_.forward(raw, normal_.data(), value_.data());
    return value_.data();
  }

  void backward(T* grad, T* norm_grads) const {
    if (norm_.gain) norm_.backward(grad, normal_.data(), scale_, norm_grads + 2 * target_norm * norm_.size);
  }

 private:
  LayerNorm<T> norm_;
  std::vector<T> normal_, value_;
  T scale_ = 1;
};

// What a thread needs for a row at hand.
template <typename T>
struct Row {
  int64_t row = 0;
  Target<T> target;
  const T* target_value = nullptr;
  Update<T> update;
  const int64_t width;
  const Tensor numbers;                    // aligned, unlike a std::vector
  T *hidden, *rotated, *grad, *workspace;  // padded

  explicit Row(const Problem& problem)
      : target(problem),
        update(problem.form, problem.sizes, problem.norm_weights<T>()),
        width(padded<T>(problem.sizes.hidden)),
        numbers(at::zeros({3 + workspace_rows, width}, problem.x.options())),
        hidden(numbers.mutable_data_ptr<T>()),
        rotated(hidden + width),
        grad(rotated + width),
        workspace(grad + width) {}
};

// What a backward pass reads.
struct Saved {
  Tensor parts;    // [time, batch, parts, hidden]: embedded inputs, targets and gates before norms and sigmoid
  Tensor rotated;  // [batch, time, hidden], by the memory; empty without one
};

// Takes rows in groups of which each goes through all steps of a chunk before the next.
template <typename Body>
void each_group(int64_t begin, int64_t end, int64_t bytes_of_row, Body&& body) {
  const int64_t size = bytes_of_row ? std::max<int64_t>(group_bytes / bytes_of_row, 1) : end - begin;
  for (int64_t from = begin; from < end; from += size) body(from, std::min(from + size, end));
}

template <typename T>
PackedMatrix<T> packed(const Tensor& matrix) {
  return {matrix.const_data_ptr<T>(), matrix.size(0), matrix.size(1), matrix.size(1), 1,
          static_cast<int64_t>(matrix.nbytes())};
}

template <typename T>
PackedMatrix<T> packed_transposed(const Tensor& matrix) {
  return {matrix.const_data_ptr<T>(), matrix.size(1), matrix.size(0), 1, matrix.size(1),
          static_cast<int64_t>(matrix.nbytes())};
}

template <typename T, typename Rotation>
class ForwardPass {
 public:
  ForwardPass(const Problem& problem, Rotation& rotation, const Saved& saved, const Tensor& outputs,
              const Tensor& hidden, const Tensor& cosines)
      : problem_(problem),
        sizes_(problem.sizes),
        rotation_(rotation),
        input_(packed<T>(problem.maps.of_inputs<T>(sizes_))),
        recurrent_(packed<T>(problem.maps.of_states<T>(sizes_))),
        biases_(problem.maps.biases<T>(sizes_)),
        x_(problem.x),
        parts_(saved.parts),
        states_(hidden.mutable_data_ptr<T>()),
        rotated_(saved.rotated),
        outputs_(outputs),
        cosines_(cosines),
        keep_(problem.keep),
        active_(problem.active) {}

  // Steps from `begin` up to `end`.
  void run(int64_t begin, int64_t end) {
    for (int64_t first = begin; first < end; first += chunk_steps) {
      const int64_t steps = std::min(chunk_steps, end - first);
      // Parts that are not kept for a backward pass have room for one chunk.
      const Tensor parts = parts_.narrow(0, parts_.size(0) < sizes_.time ? 0 : first, steps);
      parallel_for(0, sizes_.batch, rows_per_thread, [&](int64_t first_row, int64_t last_row) {
        const FlushDenormals flush;
        Row<T> at(problem_);
        each_group(first_row, last_row, rotation_.bytes_of_row(first + steps), [&](int64_t from, int64_t to) {
          multiply_inputs(from, to, first, steps, parts.mutable_data_ptr<T>());
          for (int64_t step = 0; step < steps; ++step) {
            T* rows = parts.mutable_data_ptr<T>() + step * sizes_.batch * sizes_.row();
            recurrent_.accumulate(states_ + from * sizes_.hidden, sizes_.hidden, to - from,
                                  rows + from * sizes_.row() + sizes_.hidden, sizes_.row());
            for (int64_t row = from; row < to; ++row) step_of_row(row, first + step, rows + row * sizes_.row(), at);
          }
          for (int64_t row = from; row < to; ++row) rotation_.finish_chunk(row, first, steps);
        });
      });
    }
  }

 private:
  // Sets the parts of some rows and steps to what inputs and biases give: step by step or, if there are more steps
  // than rows, row by row.
  void multiply_inputs(int64_t from, int64_t to, int64_t first, int64_t steps, T* parts) const {
    const int64_t size = sizes_.row(), step_size = sizes_.batch * size;
    for (int64_t step = 0; step < steps; ++step)
      for (int64_t row = from; row < to; ++row) copy(biases_.data(), size, parts + step * step_size + row * size);
    if (steps > to - from) {
      for (int64_t row = from; row < to; ++row)
        input_.accumulate(x_.at(row, first), x_.time_stride(), steps, parts + row * size, step_size);
    } else {
      for (int64_t step = 0; step < steps; ++step)
        input_.accumulate(x_.at(from, first + step), x_.batch_stride(), to - from,
                          parts + step * step_size + from * size, size);
    }
  }

  void step_of_row(int64_t row, int64_t step, T* parts, Row<T>& at) {
    const int64_t size = sizes_.hidden;
    T *embedded = parts, *state = states_ + row * size;
    const bool counts = !active_ || *active_.at(row, step) > 0;
    // The rotation from a zero vector is the identity.
    if (!counts) std::fill_n(embedded, size, T(0));
    Plane<T>& plane = rotation_.planes.at(row, step);
    set_plane(embedded, at.target.forward(parts + size), size, T(problem_.form.eps), plane);
    *cosines_.at(row, step) = plane.turning();
    copy(state, size, at.hidden);
    rotation_.forward(row, step, at.hidden, at.rotated, at.workspace);
    if (rotated_) copy(at.rotated, size, rotated_.at(row, step));
    const T* keep = keep_ ? keep_.at(row, step) : nullptr;
    if (counts) at.update.forward({embedded, at.rotated, parts + 2 * size, at.hidden, keep}, state);
    copy(state, size, outputs_.at(row, step));
  }

  const Problem& problem_;
  const Sizes& sizes_;
  Rotation& rotation_;
  const PackedMatrix<T> input_, recurrent_;
  const std::vector<T> biases_;
  const Steps<T> x_;
  const Tensor& parts_;
  T* states_;
  const Steps<T> rotated_, outputs_, cosines_, keep_, active_;
};

// Gradients of arguments; those that are not there, or not wanted, are empty.
struct Gradients {
  Tensor x, hidden, memory, norms;
  // Of the weights of target and gate, one below the other as in `joined`; and of those of the embedding, which has
  // none for the hidden state.
  Tensor rotation, embedding;
};

// Of a kernel and its bias.
using MapGradient = std::pair<Tensor, Tensor>;

template <typename T>
MapGradient embedding_gradient(const Tensor& weights, const Sizes& sizes) {
  const Tensor nothing = at::empty({0}, weights.options());
  if (weights.size(0) == 0) return {nothing, nothing};
  const Tensor kernel = at::empty({sizes.input, sizes.hidden}, weights.options());
  const Tensor bias = at::empty({sizes.hidden}, weights.options());
  const Matrix<const T> from = matrix_of<T>(weights);
  copy_rows(from, sizes.input, sizes.hidden, {kernel.mutable_data_ptr<T>(), sizes.hidden});
  copy_rows(from.from_row(sizes.input), 1, sizes.hidden, {bias.mutable_data_ptr<T>(), sizes.hidden});
  return {kernel, bias};
}

// Of the map to the target (0) or to the gate (1).
template <typename T>
MapGradient state_gradient(const Tensor& weights, const Sizes& sizes, int64_t part) {
  const Tensor nothing = at::empty({0}, weights.options());
  if (part * sizes.hidden >= weights.size(1)) return {nothing, nothing};
  const Tensor kernel = at::empty({sizes.input + sizes.hidden, sizes.hidden}, weights.options());
  const Tensor bias = at::empty({sizes.hidden}, weights.options());
  const Matrix<const T> from = matrix_of<T>(weights).from_column(part * sizes.hidden);
  const Matrix<T> to{kernel.mutable_data_ptr<T>(), sizes.hidden};
  copy_rows(from.from_row(sizes.hidden), sizes.input, sizes.hidden, to);
  copy_rows(from, sizes.hidden, sizes.hidden, to.from_row(sizes.input));
  copy_rows(from.from_row(sizes.hidden + sizes.input), 1, sizes.hidden, {bias.mutable_data_ptr<T>(), sizes.hidden});
  return {kernel, bias};
}

template <typename T, typename Rotation>
class BackwardPass {
 public:
  BackwardPass(const Problem& problem, Rotation& rotation, const Saved& saved, const Tensor& outputs,
               const optional<Tensor>& outputs_grad, const optional<Tensor>& cosines_grad, Gradients& grads)
      : problem_(problem),
        sizes_(problem.sizes),
        rotation_(rotation),
        recurrent_(packed_transposed<T>(problem.maps.of_states<T>(sizes_))),
        plane_grads_(sizes_, rotation.planes.depth, problem.x.options()),
        joined_(uninitialised({sizes_.backward_steps(), sizes_.batch, sizes_.joined()}, problem.x.options())),
        embedding_grads_(uninitialised({sizes_.backward_steps(), sizes_.batch, sizes_.hidden}, problem.x.options())),
        part_grads_(uninitialised({sizes_.backward_steps(), sizes_.batch, sizes_.state_row()}, problem.x.options())),
        norm_grads_(at::zeros({problem.norms ? sizes_.batch : 0, 2 * sizes_.parts * sizes_.hidden},
                              problem.x.options())),
        parts_(saved.parts.const_data_ptr<T>()),
        joined_rows_(joined_.mutable_data_ptr<T>()),
        embedding_grad_rows_(embedding_grads_.mutable_data_ptr<T>()),
        part_grad_rows_(part_grads_.mutable_data_ptr<T>()),
        state_grads_(grads.hidden.mutable_data_ptr<T>()),
        x_(problem.x),
        rotated_(saved.rotated),
        outputs_(outputs),
        keep_(problem.keep),
        active_(problem.active),
        outputs_grad_(outputs_grad),
        cosines_grad_(cosines_grad),
        grads_(grads) {}

  void run(const Wanted& wanted) {
    if (wanted.want_x) input_weight_ = problem_.maps.of_inputs<T>(sizes_);
    const int64_t chunk = sizes_.backward_steps();
    for (int64_t end_step = sizes_.time; end_step > 0; end_step -= std::min(chunk, end_step)) {
      const int64_t steps = std::min(chunk, end_step), first = end_step - steps;
      parallel_for(0, sizes_.batch, rows_per_thread, [&](int64_t begin, int64_t end) {
        const FlushDenormals flush;
        std::vector<Row<T>> rows;
        for (int64_t each = 0; each < together; ++each) rows.emplace_back(problem_);
        if (end_step == sizes_.time && remembers_planes()) set_planes(begin, end, rows[0].target);
        // A backward pass goes over gradients as well.
        each_group(begin, end, 2 * rotation_.bytes_of_row(end_step), [&](int64_t from, int64_t to) {
          for (int64_t step = steps - 1; step >= 0; --step) {
            for (int64_t row = from; row < to; row += together)
              step_of_rows(row, std::min(row + together, to), first, step, rows);
            const T* grads = part_grad_rows_ + (step * sizes_.batch + from) * sizes_.state_row();
            recurrent_.accumulate(grads, sizes_.state_row(), to - from, hidden_grad(from), sizes_.hidden);
          }
        });
      });
      add_products(first, steps, wanted);
    }
    if (problem_.norms) grads_.norms = norm_grads_.sum(0).view({sizes_.parts, 2, sizes_.hidden});
  }

 private:
  static constexpr int64_t together = Rotation::rows_together;

  bool remembers_planes() const { return rotation_.planes.depth > 1; }

  const T* parts_of(int64_t row, int64_t step) const {
    return parts_ + (step * sizes_.batch + row) * sizes_.row();
  }

  T* hidden_grad(int64_t row) const { return state_grads_ + row * sizes_.hidden; }

  // Of a row and step of the chunk at hand.
  T* embedding_grad(int64_t place) const { return embedding_grad_rows_ + place * sizes_.hidden; }
  T* part_grads(int64_t place) const { return part_grad_rows_ + place * sizes_.state_row(); }

  // Of some rows in all steps, as a step goes through the planes of all before it.
  void set_planes(int64_t begin, int64_t end, Target<T>& target) {
    for (int64_t row = begin; row < end; ++row) {
      plane_grads_.clear(row);
      for (int64_t step = 0; step < sizes_.time; ++step) set_plane_of(row, step, target);
    }
  }

  const T* set_plane_of(int64_t row, int64_t step, Target<T>& target) {
    const T *parts = parts_of(row, step), *value = target.forward(parts + sizes_.hidden);
    set_plane(parts, value, sizes_.hidden, T(problem_.form.eps), rotation_.planes.at(row, step));
    return value;
  }

  void step_of_rows(int64_t begin, int64_t end, int64_t first, int64_t step_of_chunk, std::vector<Row<T>>& rows) {
    const int64_t step = first + step_of_chunk, first_place = step_of_chunk * sizes_.batch;
    int64_t count = 0;
    for (int64_t row = begin; row < end; ++row) {
      rows[count].row = row;
      if (before_rotation(step, first_place + row, rows[count])) ++count;
    }
    rotation_.backward(rows.data(), count, step, plane_grads_);
    for (int64_t each = 0; each < count; ++each) after_rotation(step, first_place + rows[each].row, rows[each]);
  }

  // Leaves the gradient of the rotated state; returns whether the step counts, and so has one.
  bool before_rotation(int64_t step, int64_t place, Row<T>& at) {
    const int64_t size = sizes_.hidden, row = at.row;
    T* state_grad = hidden_grad(row);
    const T* before = step ? outputs_.at(row, step - 1) : problem_.hidden.const_data_ptr<T>() + row * size;
    join(before, x_.at(row, step), joined_rows_ + place * sizes_.joined());
    if (outputs_grad_) add(outputs_grad_.at(row, step), outputs_grad_.unit_stride(), state_grad, size);
    if (active_ && !(*active_.at(row, step) > 0)) {
      std::fill_n(embedding_grad(place), size, T(0));
      std::fill_n(part_grads(place), sizes_.state_row(), T(0));
      return false;
    }
    copy(before, size, at.hidden);
    at.target_value = remembers_planes() ? at.target.forward(parts_of(row, step) + size)
                                         : set_plane_of(row, step, at.target);
    rotate_again(row, step, at);
    update_backward(row, step, part_grads(place) + size, state_grad, at);
    copy(at.grad, size, embedding_grad(place));
    if (!remembers_planes()) plane_grads_.clear(row);
    if (cosines_grad_) plane_grads_.at(row, step).versine += *cosines_grad_.at(row, step);
    return true;
  }

  // From the gradient of the state that was rotated.
  void after_rotation(int64_t step, int64_t place, Row<T>& at) {
    add(at.grad, hidden_grad(at.row), sizes_.hidden);
    plane_backward(rotation_.planes.at(at.row, step), at.target_value, sizes_.hidden, plane_grads_.at(at.row, step),
                   embedding_grad(place), part_grads(place));
    at.target.backward(part_grads(place), norm_grads(at.row));
  }

  void join(const T* state, const T* input, T* joined) const {
    copy(state, sizes_.hidden, joined);
    copy(input, sizes_.input, joined + sizes_.hidden);
    joined[sizes_.joined() - 1] = 1;
  }

  void rotate_again(int64_t row, int64_t step, Row<T>& at) {
    if constexpr (Rotation::accumulates) {
      copy(rotated_.at(row, step), sizes_.hidden, at.rotated);
    } else {
      rotation_.forward(row, step, at.hidden, at.rotated, at.workspace);
    }
  }

  // Leaves the gradient of the rotated state in `at.grad`, which is that of the embedded input, too.
  void update_backward(int64_t row, int64_t step, T* gate_grad, T* state_grad, Row<T>& at) {
    const T *parts = parts_of(row, step), *keep = keep_ ? keep_.at(row, step) : nullptr;
    at.update.backward({parts, at.rotated, parts + 2 * sizes_.hidden, at.hidden, keep}, state_grad, at.grad, gate_grad,
                       norm_grads(row));
  }

  T* norm_grads(int64_t row) const { return norm_grads_.mutable_data_ptr<T>() + row * norm_grads_.size(1); }

  // Of the chunk at hand.
  void add_products(int64_t first, int64_t steps, const Wanted& wanted) {
    const int64_t rows = steps * sizes_.batch;
    const Matrix<const T> joined{joined_rows_, sizes_.joined()};
    const Matrix<const T> embedding_grads{embedding_grad_rows_, sizes_.hidden};
    const Matrix<const T> part_grads{part_grad_rows_, sizes_.state_row()};
    if (wanted.want_rotation)
      add_product<T>(joined, sizes_.joined(), part_grads, sizes_.state_row(), rows,
                     {grads_.rotation.mutable_data_ptr<T>(), sizes_.state_row()});
    if (wanted.want_embedding)
      add_product<T>(joined.from_column(sizes_.hidden), sizes_.input + 1, embedding_grads, sizes_.hidden, rows,
                     {grads_.embedding.mutable_data_ptr<T>(), sizes_.hidden});
    if (wanted.want_x) add_x(first, steps);
  }

  void add_x(int64_t first, int64_t steps) {
    const int64_t rows = steps * sizes_.batch;
    Tensor grad = uninitialised({steps, sizes_.batch, sizes_.input}, grads_.x.options());
    const Matrix<T> sums{grad.mutable_data_ptr<T>(), sizes_.input};
    const Matrix<const T> weights = matrix_of<T>(input_weight_);
    multiply_large<T, Left::plain, Right::transposed>({embedding_grad_rows_, sizes_.hidden}, weights, rows,
                                                      sizes_.input, sizes_.hidden, sums, {});
    multiply_large<T, Left::plain, Right::transposed>({part_grad_rows_, sizes_.state_row()},
                                                      weights.from_column(sizes_.hidden), rows, sizes_.input,
                                                      sizes_.state_row(), sums, {true, nullptr});
    grads_.x.narrow(1, first, steps).copy_(grad.transpose(0, 1));
  }

  const Problem& problem_;
  const Sizes& sizes_;
  Rotation& rotation_;
  const PackedMatrix<T> recurrent_;
  Tensor input_weight_;  // if the gradient of x is wanted
  PlaneGradients<T> plane_grads_;
  const Tensor joined_, embedding_grads_, part_grads_;  // of the chunk at hand, time first
  const Tensor norm_grads_;  // of each row of the batch, so that threads need not wait for one another
  const T* parts_;
  T *joined_rows_, *embedding_grad_rows_, *part_grad_rows_, *state_grads_;
  const Steps<T> x_, rotated_, outputs_, keep_, active_, outputs_grad_, cosines_grad_;
  Gradients& grads_;
};

// ---------------------------------------------------------------------------------------------------------
// Operations

void check_rows(const Tensor& tensor) {
  TORCH_CHECK(tensor.size(-1) <= 1 || tensor.stride(-1) == 1, "the last axis of a tensor is not contiguous");
}

void check(const Problem& problem, const optional<Tensor>& memory) {
  const Sizes& sizes = problem.sizes;
  const Maps& maps = problem.maps;
  const int64_t both = sizes.input + sizes.hidden;
  TORCH_CHECK(sizes.time > 0, "a sequence has no step");
  check_sizes("input", problem.x, {sizes.batch, sizes.time, sizes.input});
  check_sizes("hidden state", problem.hidden, {sizes.batch, sizes.hidden});
  check_sizes("memory", memory, {sizes.batch, sizes.hidden, sizes.hidden});
  check_sizes("kernel of the embedding", maps.embedding, {sizes.input, sizes.hidden});
  check_sizes("kernel of the target", maps.target, {both, sizes.hidden});
  check_sizes("kernel of the gate", maps.gate, {both, sizes.hidden});
  for (const optional<Tensor>* bias : {&maps.embedding_bias, &maps.target_bias, &maps.gate_bias})
    check_sizes("bias", *bias, {sizes.hidden});
  // As many as there are parts: target, candidate and, if there is one, gate.
  check_sizes("weight of the norms", problem.norms, {sizes.parts, 2, sizes.hidden});
  check_sizes("share that zoneout keeps", problem.keep, {sizes.batch, sizes.time, sizes.hidden});
  check_sizes("mark of steps that count", problem.active, {sizes.batch, sizes.time});
  check_contiguous(problem.hidden);
  if (problem.norms) check_contiguous(*problem.norms);
  if (problem.keep) check_rows(*problem.keep);
  check_rows(problem.x);
}

Results rum(const Operands& given, const Biases& biases, const Choices& choices, const Keeping& keeping) {
  const optional<Tensor>& memory = given.memory;
  const bool keeps = keeping.keeps;
  const Maps maps(given, biases);
  const Problem problem = problem_of(given, maps, choices);
  check(problem, memory);
  const Sizes& sizes = problem.sizes;
  const auto& options = given.x.options();
  const Tensor outputs = uninitialised({sizes.batch, sizes.time, sizes.hidden}, options);
  const Tensor cosines = at::empty({sizes.batch, sizes.time}, options);
  const Tensor last = given.hidden.clone();
  Tensor last_memory = at::empty({0}, options), copies = at::empty({0}, options);
  const int64_t kept = keeps ? sizes.time : std::min(chunk_steps, sizes.time);
  Saved saved{uninitialised({kept, sizes.batch, sizes.parts, sizes.hidden}, options),
              uninitialised({keeps && memory ? sizes.batch : 0, sizes.time, sizes.hidden}, options)};
  AT_DISPATCH_FLOATING_TYPES(given.x.scalar_type(), "rum", [&] {
    using T = scalar_t;
    const auto run = [&](auto& rotation, int64_t begin, int64_t end) {
      ForwardPass<T, std::decay_t<decltype(rotation)>>(problem, rotation, saved, outputs, last, cosines).run(begin, end);
    };
    if (!memory) {
      SingleRotation<T> rotation(sizes, options);
      run(rotation, 0, sizes.time);
      return;
    }
    const bool as_sequence = better_as_sequence(sizes);
    const int64_t first = as_sequence && is_identity<T>(*memory) ? first_by_columns(sizes) : 0;
    last_memory = *memory;
    if (first > 0) {
      RotationSequence<T> rotation(sizes, first, options);
      rotation.prepare_forward(options);
      run(rotation, 0, first);
      last_memory = rotation.memory;
    }
    if (first < sizes.time) {
      const int64_t count = keeps && !as_sequence ? (sizes.time - 1) / copy_steps : 0;
      if (!as_sequence) copies = uninitialised({count, sizes.batch, sizes.hidden, sizes.hidden}, options);
      MemoryColumns<T> rotation(sizes, first, last_memory, copies, options);
      run(rotation, first, sizes.time);
      last_memory = rotation.memory;
    }
  });
  if (!keeps) saved.parts = at::empty({0}, options);
  return {outputs, last, last_memory, cosines, saved.parts, saved.rotated, copies};
}

ArgumentGradients rum_backward(const ResultGradients& of_results, const Operands& given, const Kept& kept,
                               const Choices& choices, const Wanted& wanted) {
  const optional<Tensor>& memory = given.memory;
  const bool want_memory = wanted.want_memory;
  const Maps maps(given);
  const Problem problem = problem_of(given, maps, choices);
  check(problem, memory);
  const Sizes& sizes = problem.sizes;
  const auto& options = given.x.options();
  const optional<Tensor>& hidden_grad = of_results.hidden_grad;
  const int64_t joined = wanted.want_rotation ? sizes.joined() : 0;
  const int64_t state_row = wanted.want_rotation ? sizes.state_row() : 0;
  Gradients grads{wanted.want_x ? uninitialised(given.x.sizes(), options) : at::empty({0}, options),
                  hidden_grad ? hidden_grad->clone(at::MemoryFormat::Contiguous) : at::zeros_like(given.hidden),
                  at::empty({0}, options), at::empty({0}, options), at::zeros({joined, state_row}, options),
                  at::zeros({wanted.want_embedding ? sizes.input + 1 : 0, sizes.hidden}, options)};
  const Saved saved{kept.parts, kept.rotated};
  MapGradient of_embedding, of_target, of_gate;
  AT_DISPATCH_FLOATING_TYPES(given.x.scalar_type(), "rum_backward", [&] {
    using T = scalar_t;
    const auto run = [&](auto& rotation) {
      BackwardPass<T, std::decay_t<decltype(rotation)>>(problem, rotation, saved, kept.outputs, of_results.outputs_grad,
                                                        of_results.cosines_grad, grads)
          .run(wanted);
    };
    if (!memory) {
      SingleRotation<T> rotation(sizes, options);
      run(rotation);
    } else if (better_as_sequence(sizes) && !of_results.memory_grad && !want_memory) {
      RotationSequence<T> rotation(sizes, sizes.time, options);
      rotation.prepare_backward(*memory);
      run(rotation);
    } else {
      MemoryRows<T> rotation(sizes, kept.last_memory, kept.copies, options);
      rotation.prepare_backward(of_results.memory_grad);
      run(rotation);
      if (want_memory) grads.memory = rotation.memory_grad();
    }
    of_embedding = embedding_gradient<T>(grads.embedding, sizes);
    of_target = state_gradient<T>(grads.rotation, sizes, 0);
    of_gate = state_gradient<T>(grads.rotation, sizes, 1);
  });
  return {grads.x,         grads.hidden,     grads.memory,  of_embedding.first, of_embedding.second,
          of_target.first, of_target.second, of_gate.first, of_gate.second,     grads.norms};
}

// What the sizes of the results depend on: steps between copies, and how many steps for how many units are the fewest
// for which the memory is a matrix.
std::vector<int64_t> rum_thresholds() { return {copy_steps, least_steps, least_steps_of}; }

// ---------------------------------------------------------------------------------------------------------
// Differentiation

struct RUM {
  static constexpr auto name = "rum";
  static constexpr auto forward = &rum;
  static constexpr auto backward = &rum_backward;

  static std::tuple<Operands, Kept, Choices, Wanted> saved(const Results& results, const Operands& operands,
                                                           const Biases& biases, const Choices& choices,
                                                           const Keeping&) {
    const bool of_target = wants_gradient(operands.target) || wants_gradient(biases.target_bias);
    const bool of_gate = wants_gradient(operands.gate) || wants_gradient(biases.gate_bias);
    const bool of_embedding = wants_gradient(operands.embedding) || wants_gradient(biases.embedding_bias);
    return {operands,
            {results.outputs, results.memory, results.parts, results.rotated, results.copies},
            choices,
            {wants_gradient(operands.x), wants_gradient(operands.memory), of_embedding, of_target || of_gate}};
  }

  static Variables constant(const Results& results, const Operands& operands, const Biases&, const Choices&,
                            const Keeping&) {
    Variables constant{results.parts, results.rotated, results.copies};
    if (!operands.memory) constant.push_back(results.memory);
    return constant;
  }
};

}  // namespace
}  // namespace rmem

TORCH_LIBRARY_FRAGMENT(rmem, library) {
  rmem::Differentiable<rmem::RUM>::define(library);
  library.def("rum_thresholds() -> int[]", &rmem::rum_thresholds);
}
