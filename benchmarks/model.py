"""Is the model what it claims? Equal to stock Wan at the start, of its sizes; masks right, language fast."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wallwm_ros.cli.bench import part

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from wallwm_model.network.config import NetworkConfig
    from wallwm_model.network.language.model import Language

SECONDS = 120.0  # about; every part does a fixed amount of work
# Of the public checkpoints: parameters by name, and bytes of their folders with the bytes per number in them.
PUBLIC = {
    "wan2.1-1.3b": {"name": "1.3 B", "transformer": (5.68e9, 4), "vae": (508e6, 4), "text": (11.4e9, 2)},
    "wan2.2-5b": {"name": "5 B", "vae": (1.31 * 2**30, 2), "text": (11.4e9, 2)},
}
BUNDLE = Path(__file__).resolve().parents[1] / "models" / "nano"
EPISODES, SEED = 24, 50_000  # scenes for the reasoning's text; seeds that no training data use
# Part of the count: what it is called in the table, and the public figure beside it.
PARTS = {
    "stock_wan": ("stock Wan", "public_transformer"),
    "cross_view": ("+ cross-view branch", ""),
    "tower": ("= multi-view tower", ""),
    "vae": ("VAE", "public_vae"),
    "text": ("text encoder", "public_text"),
}


def measure(seconds: float = SECONDS, *, quick: bool = False) -> dict[str, Any]:
    """Parity with stock Wan, parameter counts, sight masks and staircase decoding of this machine."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("starting", total=None)

        def say(what: str) -> None:
            bar.update(task, description=what)

        return {
            **parity(say, quick=quick),
            "parameters": sizes(say),
            **masks(say, quick=quick),
            **language(say, quick=quick),
            "quick": quick,
        }


def parity(say: Callable[[str], None], *, quick: bool = False) -> dict[str, Any]:
    """The same random weights in stock Wan and in ours, in float32: are the outputs equal bit for bit?"""
    import torch
    from diffusers import WanTransformer3DModel

    from wallwm_model.network.config import preset
    from wallwm_model.network.presets import build_tower, load_wan

    equal: dict[str, bool] = {}
    for name in ("nano",) if quick else ("nano", "small"):
        config = preset(name)
        torch.manual_seed(0)
        stock = WanTransformer3DModel(**config.wan).eval()
        for views in (1, 3):
            say(f"stock Wan beside ours: {name}, {views} views")
            ours = load_wan(build_tower(_with_views(config, views)), stock.state_dict()).eval()
            for kind in ("one noise level", "a level per token"):
                per_token = kind == "a level per token"
                equal[f"{name}, {views} views, {kind}"] = _equal(stock, ours, views, per_token)
    return {"wan_bit_equal": all(equal.values()), "wan_bit_equal_cases": equal}


def _equal(stock: Any, ours: Any, views: int, per_token: bool) -> bool:
    import torch

    batch, frames, side = 2, 3, 8
    latents = torch.randn(batch, views, stock.config.in_channels, frames, side, side)
    text = torch.randn(batch, 9, stock.config.text_dim)
    timestep = torch.tensor([900.0, 20.0])
    if per_token:  # Wan2.2's conditioning: the first frame is clean
        patches = (side // stock.config.patch_size[1]) ** 2
        timestep = timestep[:, None].repeat(1, frames * patches)
        timestep[:, :patches] = 0
    with torch.no_grad():
        expected = stock(
            latents.flatten(0, 1),
            timestep.repeat_interleave(views, 0),
            text.repeat_interleave(views, 0),
            return_dict=False,
        )[0]
        return torch.equal(ours(latents, timestep, text).flatten(0, 1), expected)


def _with_views(config: NetworkConfig, views: int) -> NetworkConfig:
    from dataclasses import replace

    return replace(config, views=views)


def sizes(say: Callable[[str], None]) -> dict[str, dict[str, Any]]:
    """Parameters of every preset, built on the meta device, beside what the public checkpoints hold."""
    import torch
    from diffusers import WanTransformer3DModel

    from wallwm_model.network.config import PRESETS
    from wallwm_model.network.presets import build_tower, new_parameters, parameters
    from wallwm_model.network.umt5 import UMT5_XXL, Umt5Encoder
    from wallwm_model.network.vae import build_codec

    found: dict[str, dict[str, Any]] = {}
    for name, config in PRESETS.items():
        say(f"counting {name}")
        tower = build_tower(config, "meta")
        with torch.device("meta"):
            row: dict[str, Any] = {
                "tower": parameters(tower),
                "cross_view": new_parameters(tower),
                "stock_wan": parameters(WanTransformer3DModel(**config.wan)),
            }
            row["stock_keys"] = row["tower"] - row["cross_view"] == row["stock_wan"]
            if config.codec != "patch":
                row["vae"] = parameters(build_codec(config))
            if config.text == "umt5":
                row["text"] = parameters(Umt5Encoder(UMT5_XXL))
        found[name] = row | _public(name)
    return found


def _public(name: str) -> dict[str, Any]:
    """What the public checkpoint's name and file sizes say."""
    known = PUBLIC.get(name, {})
    files = {f"public_{part}": round(size[0] / size[1]) for part, size in known.items() if part != "name"}
    return {"public_name": known["name"], **files} if known else {}


def masks(say: Callable[[str], None], *, quick: bool = False) -> dict[str, Any]:
    """Sight masks against brute-force sampling, and their time at nano's and Wan's sizes.

    `mask_agreement` is the share of the sampled co-visible pairs of patches that the mask allows.
    """
    few = {"rigs_count": 4, "scenes": 1, "updates": 3} if quick else {}
    found = part("masks").run(**few, on_progress=lambda done, of: say(f"sight masks, {done} of {of}"))
    return {"mask_agreement": found["mask_recall"], "mask_ms": found["mask_ms"], "masks": found}


def language(say: Callable[[str], None], *, quick: bool = False) -> dict[str, Any]:
    """Staircase decoding against token by token, and the text read back from its latents in fresh scenes.

    Without a trained language side in the bundle, only speed is measured.
    """
    from wallwm_model.data.generate import generate

    staircase = part("staircase")
    few = {"counts": (4, 8), "repeats": 3} if quick else {}
    trained = trained_language(BUNDLE)
    if trained is None:
        found = staircase.run(progress=say, **few)
    else:
        from wallwm_model.train.language_data import MomentDataset

        with tempfile.TemporaryDirectory() as folder:
            say("held-out scenes to reason about")
            generate(Path(folder), episodes=2 if quick else EPISODES, seed=SEED, workers=1)
            found = staircase.run(trained, MomentDataset(Path(folder)), progress=say, **few)
    keys = ("staircase_speedup", "cot_token_accuracy", "cot_exact_match")
    top = {key: found.pop(key, None) for key in keys}
    return top | {"staircase": found}


def trained_language(bundle: Path) -> Language | None:
    """The language side of an engine bundle, in torch; None where it has none.

    Raises:
        BundleError: the bundle is incomplete or altered.
    """
    from wallwm_model.bundle import verify
    from wallwm_model.engines.torch_engine import read_network

    return read_network(bundle, verify(bundle))[1]


def show(figures: dict[str, Any], console: Console) -> None:
    """The figures as tables."""
    from rich.table import Table

    sizes_table = Table(title="parameters", caption="public: the bytes of its files / bytes per number")
    for column, justify in (("preset", "left"), ("part", "left"), ("here", "right"), ("public", "right")):
        sizes_table.add_column(column, justify=justify)
    for name, row in figures["parameters"].items():
        for key, (label, published) in PARTS.items():
            if key in row:
                public = row.get(published) or (row.get("public_name", "") if key == "stock_wan" else "")
                shown = f"{public:,}" if isinstance(public, int) else public
                sizes_table.add_row(name, label, f"{row[key]:,}", shown)
        sizes_table.add_section()
    console.print(sizes_table)
    parity_table = Table(title="stock Wan and ours, float32, bit for bit")
    parity_table.add_column("case")
    parity_table.add_column("equal")
    for case, equal in figures["wan_bit_equal_cases"].items():
        parity_table.add_row(case, "[green]yes[/]" if equal else "[red]no[/]")
    console.print(parity_table)
    if "masks" in figures:
        part("masks").table(figures["masks"])
    if "staircase" in figures:
        console.print(_staircase_table(figures))


def _staircase_table(figures: dict[str, Any]) -> Table:
    from rich.table import Table

    found = figures["staircase"]
    accuracy, exact = figures["cot_token_accuracy"], figures["cot_exact_match"]
    read = "no trained language side in the bundle: its text was not read"
    if accuracy is not None:
        read = f"text read back: {accuracy:.1%} of the tokens, {exact:.1%} of {found['cot_texts']} texts"
    table = Table(title="staircase decoding against token by token", caption=read)
    for heading in ("positions", "staircase [ms]", "token by token [ms]", "times faster", "with the prefill"):
        table.add_column(heading, justify="right")
    for count, ratio in figures["staircase_speedup"].items():
        staircase, tokenwise, whole = (
            found[key][count] for key in ("staircase_ms", "tokenwise_ms", "with_prefill_speedup")
        )
        table.add_row(count, *(f"{value:.3g}" for value in (staircase, tokenwise, ratio, whole)))
    return table
