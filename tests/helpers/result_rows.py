"""A result row, for tests that need any."""

from rmem_cli.results.row import ResultRow

ROW = ResultRow(
    experiment="one", row="lstm", cell="length=30", scale="cpu", seed=1, protocol="test", split="test",
    part="", metric="accuracy", value=0.5, unit="fraction", examples=10, step=10, checkpoint="last",
    parameters=100, wall_seconds=1.0, peak_memory_mb=1.0, device="cpu", threads=1, op_paths="",
    dtype="float32", torch_version="2.13.0", rmem_version="0.1.0", git_commit="0" * 40, git_dirty="false",
    train_hash="a" * 12, eval_hash="b" * 12, data_hash="", status="ok", time="2026-01-02T03:04:05Z",
)  # fmt: skip
