"""A checkpoint of any known kind to a bundle: read, converted, held against the original.

`sources` says what a folder is, `heads` rebuilds a described head, `ir` converts and compares,
`run` puts them together with quantization and the study, `optimum` writes what transformers reads.
"""
