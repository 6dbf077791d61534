"""An ordinary fine-tuning script, as people have it in notebooks: a checkpoint to convert.

    python benchmarks/convert/finetune.py OUT [--epochs 3] [--threads 1]

Fine-tunes rubert-tiny2 with transformers' Trainer on CEDR as it is written, with capitals and
punctuation, and knows nothing of ov_emotions. Writes OUT/model, as `save_pretrained` does, and
OUT/validation.csv: a fifth of the training rows, kept out, for `ov-emotions convert --data`.
"""

import argparse
import csv
import json
import os
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import f1_score
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    Trainer,
    TrainingArguments,
    set_seed,
)

LABELS = ["радость", "грусть", "удивление", "страх", "злость"]
SHARED = Path(os.environ.get("OV_EMOTIONS_SHARED", "../shared"))
SEED = 20261122


def read(path: Path) -> list[tuple[str, list[int]]]:
    """Read CEDR's rows: text, and the indices of its labels."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return [(r["text"], [int(i) for i in r["labels"].strip("[]").split()]) for r in rows]


def main() -> None:
    """Train, and save as people do."""
    parser = argparse.ArgumentParser()
    parser.add_argument("out", type=Path)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    set_seed(SEED)
    rows = read(SHARED / "data/cedr/cedr-main-train.csv")
    order = np.random.default_rng(SEED).permutation(len(rows))
    held = len(rows) // 5
    validation, train = ([rows[i] for i in part] for part in (order[:held], order[held:]))

    tokenizer = AutoTokenizer.from_pretrained(SHARED / "models/rubert-tiny2")
    model = AutoModelForSequenceClassification.from_pretrained(
        SHARED / "models/rubert-tiny2",
        dtype=torch.float32,
        num_labels=len(LABELS),
        id2label=dict(enumerate(LABELS)),
        label2id={label: i for i, label in enumerate(LABELS)},
        problem_type="multi_label_classification",
    )

    def encode(part: list[tuple[str, list[int]]]) -> list[dict]:
        found = tokenizer([text for text, _ in part], truncation=True, max_length=128)
        targets = [[float(i in chosen) for i in range(len(LABELS))] for _, chosen in part]
        return [
            {"input_ids": ids, "attention_mask": mask, "labels": target}
            for ids, mask, target in zip(
                found["input_ids"], found["attention_mask"], targets, strict=True
            )
        ]

    trainer = Trainer(
        model,
        TrainingArguments(
            str(arguments.out / "runs"),
            num_train_epochs=arguments.epochs,
            learning_rate=1.5e-4,
            warmup_steps=100,
            per_device_train_batch_size=32,
            per_device_eval_batch_size=128,
            save_strategy="no",
            eval_strategy="epoch",
            report_to="none",
            use_cpu=True,
            seed=SEED,
        ),
        train_dataset=encode(train),
        eval_dataset=encode(validation),
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=lambda answer: {
            f"{kind}_f1": f1_score(answer.label_ids, answer.predictions > 0, average=kind)
            for kind in ("weighted", "macro")
        },
    )
    trainer.train()
    trainer.save_model(str(arguments.out / "model"))
    tokenizer.save_pretrained(arguments.out / "model")
    with (arguments.out / "validation.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "labels"])
        for text, chosen in validation:
            writer.writerow([text, json.dumps([LABELS[i] for i in chosen], ensure_ascii=False)])


if __name__ == "__main__":
    main()
