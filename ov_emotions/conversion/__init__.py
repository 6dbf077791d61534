"""A checkpoint of any known kind to a bundle: read, converted, held against the original.

`sources` says what a folder is and whether it can work, `modules` loads it in torch, `ir`
converts and compares, `run` puts them together with quantization and the study, `optimum` reads and
writes optimum's folders.
"""
