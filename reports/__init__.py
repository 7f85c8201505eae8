"""Reporters: a record and its verdicts become text. They judge nothing."""
