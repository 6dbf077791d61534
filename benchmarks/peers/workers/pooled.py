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


def _classify(
    encoder: Any, head: Any, ids: Tensor, mask: Tensor, types: Tensor | None
) -> SequenceClassifierOutput:
    states = encoder(input_ids=ids, attention_mask=mask, token_type_ids=types).last_hidden_state
    weights = mask.unsqueeze(-1).to(states.dtype)
    pooled = (states * weights).sum(1) / weights.sum(1).clamp(min=1)
    return SequenceClassifierOutput(logits=head(pooled))


class MeanPooledBertForSequenceClassification(BertPreTrainedModel):
    """BERT, mean of the tokens that are not padding, a linear layer."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.bert = BertModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Score a batch: ids and mask, shape (batch, tokens), to logits, shape (batch, labels)."""
        return _classify(self.bert, self.classifier, input_ids, attention_mask, token_type_ids)


class MeanPooledRobertaForSequenceClassification(RobertaPreTrainedModel):
    """RoBERTa, mean of the tokens that are not padding, a linear layer."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor,
        token_type_ids: Tensor | None = None,
    ) -> SequenceClassifierOutput:
        """Score a batch: ids and mask, shape (batch, tokens), to logits, shape (batch, labels)."""
        return _classify(self.roberta, self.classifier, input_ids, attention_mask, token_type_ids)
