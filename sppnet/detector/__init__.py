"""The stages of detection over a run folder.

proposals -> features -> (finetuning) -> svms -> bbox_regressors -> testing -> scoring; `training` runs them all. Each
stage reads what the one before it left in the run folder, and skips what is finished.
"""
