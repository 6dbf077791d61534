"""A stock encoder with mean pooling and one linear layer, as AutoModelForSequenceClassification.

transformers' own classes for these encoders classify the first token's state through a layer that
our checkpoints do not have. Servers tell a classifier by the end of its class's name. This file
goes into the converted checkpoint as its remote code.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from transformers import BertModel, BertPreTrainedModel, RobertaModel
from transformers.modeling_outputs import SequenceClassifierOutput
from transformers.models.roberta.modeling_roberta import RobertaPreTrainedModel


class _MeanPooled:
    """Mean of the tokens that are not padding, a linear layer; before the stock class."""

    encoder_class: Any

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        setattr(self, self.base_model_prefix, self.encoder_class(config, add_pooling_layer=False))
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Score a batch: ids and mask, shape (batch, tokens), to logits, shape (batch, labels)."""
        states = self.base_model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).last_hidden_state
        weights = attention_mask.unsqueeze(-1).to(states.dtype)
        pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
        return SequenceClassifierOutput(logits=self.classifier(pooled))


class MeanPooledBertForSequenceClassification(_MeanPooled, BertPreTrainedModel):
    """BERT with that head."""

    encoder_class = BertModel


class MeanPooledRobertaForSequenceClassification(_MeanPooled, RobertaPreTrainedModel):
    """RoBERTa with that head."""

    encoder_class = RobertaModel
