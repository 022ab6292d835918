"""The asset `all_studies` and its job `paper_tables`: every finished study, in one table beside the paper's.

Counting belongs to `vrft_core.report.tables`; the asset runs although nothing has changed, which costs a second.
"""

from pathlib import Path

import dagster as dg

from pipelines.dvc_assets import benchmarks, prefix
from pipelines.pages import link
from vrft_core.cell import Layout
from vrft_core.params import Params
from vrft_core.report import tables

NAME, JOB = "all_studies", "paper_tables"
TEXT = """**Every study that is made, in one table.**

- **Goes in:** the studies of all benchmarks, as far as they are made.
- **Comes out:** `reports/tables/`, a page and the same as Markdown: base, SFT and RFT with their intervals, and the
  Visual-RFT paper's numbers where it has the same model, data and shots.
- **Good:** RFT − SFT lies above 0 with its whole interval, in each row that a claim is made of."""


def paper_tables(root: Path, params: Params) -> dg.AssetsDefinition:
    @dg.asset(
        name=NAME,
        deps=[
            dg.AssetDep(f"{prefix(name)}_study", partition_mapping=dg.AllPartitionMapping())
            for name in benchmarks(params)
        ],
        description=TEXT,
        group_name="tables",
        owners=["team:evaluation"],
        kinds={"report"},
    )
    def tables_asset() -> dg.MaterializeResult:
        rows = tables.write(Layout(root), params)
        folder = tables.folder(Layout(root))
        text = (folder / "summary.md").read_text(encoding="utf-8")
        return dg.MaterializeResult(
            metadata={
                "studies": rows,
                "page": link(root, folder / "index.html"),
                "result": dg.MetadataValue.md(text),
            }
        )

    return tables_asset


def tables_job(asset: dg.AssetsDefinition):
    return dg.define_asset_job(
        JOB,
        dg.AssetSelection.assets(asset),
        description="All studies that are made, in one table beside the paper's numbers.",
    )
