"""The stages of dvc.yaml by name. What they do is in `stages`, whose import takes longer."""

# stage → the scope its outputs are shared in
STAGES = {
    "raw": "data",
    "few_shot": "cell",
    "prompts": "cell",
    "policy": "recipe",
    "sft": "cell",
    "rft": "cell",
    "base_eval": "setup",
    "sft_eval": "cell",
    "rft_eval": "cell",
    "report": "cell",
    "study": "study",
}
OF_SOME = {"comparison": "study"}  # the same of stages that not every study has: `Params.compared`
SCOPES = STAGES | OF_SOME
