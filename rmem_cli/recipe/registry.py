"""The kinds of every component, found by name and imported on first use."""

import sys
from importlib import import_module
from typing import Any

from rmem_cli.errors import UsageError, closest
from rmem_cli.recipe.settings import Component


def build(settings: Component, *arguments: Any, **named: Any) -> Any:
    """The object that a component's settings describe.

    Args:
        settings: What its implementation takes behind other arguments.
        arguments: What stands before them, such as the width of the inputs of a core.
        named: What stands behind them.
    """
    return import_object(settings.implementation)(*arguments, settings, **named)


def import_object(location: str) -> Any:
    """Import "package.module:name" and return the named object."""
    module, _, name = location.partition(":")
    return getattr(sys.modules.get(module) or import_module(module), name)  # the former is much faster


class Registry:
    """The kinds of one sort of component, each with the place of its settings class.

    Args:
        noun: What the components are called in messages ("core", "task", ...).
        entries: Kind to "module:Class" of its settings; the module must not import torch.
        outside: Likewise, the settings of kinds that are outside of the package, `module:Class`; None: there
            are none.
    """

    def __init__(self, noun: str, entries: dict[str, str], outside: str | None = None) -> None:
        self.noun = noun
        self._entries = entries
        self._outside = outside

    def kinds(self) -> list[str]:
        """All kinds, in the order in which they are listed."""
        return list(self._entries)

    def settings(self, kind: str) -> type[Component]:
        """The settings class of a kind.

        Raises:
            UsageError: There is no such kind; the message names the closest one.
        """
        if ":" in kind and self._outside is not None:
            outside: type[Component] = import_object(self._outside)
            return outside
        if kind not in self._entries:
            raise UsageError(f"unknown {self.noun} {kind!r}; {closest(kind, self._entries)}")
        settings: type[Component] = import_object(self._entries[kind])
        return settings


CORES = Registry(
    "core",
    {
        "rnn": "rmem_cli.models.cores.recurrent_config:RNNSettings",
        "lstm": "rmem_cli.models.cores.recurrent_config:LSTMSettings",
        "gru": "rmem_cli.models.cores.recurrent_config:GRUSettings",
        "rum": "rmem_cli.models.cores.recurrent_config:RUMSettings",
        "gated_lstm": "rmem_cli.models.cores.recurrent_config:GatedLSTMSettings",
        "gated_gru": "rmem_cli.models.cores.recurrent_config:GatedGRUSettings",
        "eunn": "rmem_cli.models.cores.recurrent_config:EUNNSettings",
        "goru": "rmem_cli.models.cores.recurrent_config:GORUSettings",
        "layer_norm_lstm": "rmem_cli.models.cores.recurrent_config:LayerNormLSTMSettings",
        "fast_slow": "rmem_cli.models.cores.recurrent_config:FastSlowSettings",
        "transformer_xl": "rmem_cli.models.cores.transformer_config:TransformerXLSettings",
        "rmt": "rmem_cli.models.cores.transformer_config:RMTSettings",
        "prenorm_rmt": "rmem_cli.models.cores.transformer_config:PreNormRMTSettings",
        "pretrained_rmt": "rmem_cli.models.cores.transformer_config:PretrainedRMTSettings",
    },
    outside="rmem_cli.recipe.own_core:OwnCoreSettings",
)
ENCODERS = Registry(
    "encoder",
    {
        "one_hot": "rmem_cli.models.config:OneHotSettings",
        "embedding": "rmem_cli.models.config:EmbeddingSettings",
        "features": "rmem_cli.models.config:FeaturesSettings",
        "linear": "rmem_cli.models.config:LinearEncoderSettings",
        "adaptive": "rmem_cli.models.config:AdaptiveEmbeddingSettings",
        "pretrained": "rmem_cli.models.config:PretrainedEmbeddingSettings",
    },
)
HEADS = Registry(
    "head",
    {
        "linear": "rmem_cli.models.config:LinearHeadSettings",
        "regression": "rmem_cli.models.config:RegressionSettings",
        "adaptive": "rmem_cli.models.config:AdaptiveSoftmaxSettings",
    },
)
READOUTS = Registry(
    "read-out",
    {
        "every_step": "rmem_cli.models.config:EveryStepSettings",
        "attention": "rmem_cli.models.config:AttentionSettings",
    },
)
TASKS = Registry(
    "task",
    {
        "copying_memory": "rmem_cli.tasks.memory_config:CopyingMemorySettings",
        "copy_last_ten": "rmem_cli.tasks.memory_config:CopyLastTenSettings",
        "adding": "rmem_cli.tasks.memory_config:AddingSettings",
        "image_sequence": "rmem_cli.tasks.image_config:ImageSequenceSettings",
        "program_execution": "rmem_cli.tasks.program_config:ProgramExecutionSettings",
        "associative_recall": "rmem_cli.tasks.memory_config:AssociativeRecallSettings",
        "language_model": "rmem_cli.tasks.text_config:LanguageModelSettings",
        "babi": "rmem_cli.tasks.babi_config:BabiSettings",
        "document_classification": "rmem_cli.tasks.text_config:DocumentClassificationSettings",
        "summarization": "rmem_cli.tasks.summary_config:SummarizationSettings",
        "copy": "rmem_cli.tasks.algorithmic_config:CopySettings",
        "reverse": "rmem_cli.tasks.algorithmic_config:ReverseSettings",
        "associative_retrieval": "rmem_cli.tasks.algorithmic_config:AssociativeRetrievalSettings",
        "key_value_retrieval": "rmem_cli.tasks.key_value_config:KeyValueRetrievalSettings",
        "quadratic_equations": "rmem_cli.tasks.algorithmic_config:QuadraticEquationsSettings",
        "memorize": "rmem_cli.tasks.facts_config:MemorizeSettings",
        "detect_and_memorize": "rmem_cli.tasks.facts_config:DetectAndMemorizeSettings",
        "reasoning": "rmem_cli.tasks.facts_config:ReasoningSettings",
        "babilong": "rmem_cli.tasks.facts_config:BabilongSettings",
    },
)
OPTIMIZERS = Registry(
    "optimizer",
    {
        "sgd": "rmem_cli.training.config:SGDSettings",
        "rmsprop": "rmem_cli.training.config:RMSpropSettings",
        "tf_rmsprop": "rmem_cli.training.config:TFRMSpropSettings",
        "adam": "rmem_cli.training.config:AdamSettings",
        "adamw": "rmem_cli.training.config:AdamWSettings",
        "adagrad": "rmem_cli.training.config:AdagradSettings",
    },
)
SCHEDULES = Registry(
    "schedule",
    {
        "constant": "rmem_cli.training.config:ConstantSettings",
        "linear": "rmem_cli.training.config:LinearSettings",
        "cosine": "rmem_cli.training.config:CosineSettings",
        "inverse_sqrt": "rmem_cli.training.config:InverseSqrtSettings",
        "step": "rmem_cli.training.config:StepSettings",
        "plateau": "rmem_cli.training.config:PlateauSettings",
    },
)
BACKPROP = Registry(
    "back-propagation",
    {
        "full": "rmem_cli.training.config:FullSettings",
        "truncated": "rmem_cli.training.config:TruncatedSettings",
        "sliding": "rmem_cli.training.config:SlidingSettings",
        "replay": "rmem_cli.training.config:ReplaySettings",
    },
)
