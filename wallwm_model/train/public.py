"""Public checkpoints that a training starts from: its folder has links to them, and copies of their tokenizers."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from wallwm_model.errors import SpecError
from wallwm_model.subwords import FILE, LANGUAGE_FILE

WAN, BACKBONE, READER = "public", "public-backbone", "public-reader"  # links in a training's folder


@dataclass(frozen=True)
class PublicWeights:
    """Folders of public checkpoints.

    Attributes:
        wan: a Wan pipeline in diffusers' layout: `transformer`, `vae`, `text_encoder`, `tokenizer`.
        backbone: Qwen2.5-VL in transformers' layout; reader: Qwen2.5.
    """

    wan: Path | None = None
    backbone: Path | None = None
    reader: Path | None = None

    def links(self) -> list[tuple[str, Path]]:
        """Name of the link in a training's folder and folder, of all that are given."""
        named = ((WAN, self.wan), (BACKBONE, self.backbone), (READER, self.reader))
        return [(name, folder) for name, folder in named if folder is not None]


NONE = PublicWeights()


def link(model: str, preset: str, out: Path, weights: PublicWeights) -> None:
    """Let the training of `model` in `out` know its checkpoints; those that it knows need not be told again.

    Raises:
        SpecError: a model that takes none; a checkpoint that is missing, lacks its tokenizer, or is another one than
            that which the training began with.
    """
    from wallwm_model.network.checkpoint import sub_folder
    from wallwm_model.network.config import preset as sizes_of

    given = dict(weights.links())
    if not sizes_of(preset).public:
        if given:
            found = ", ".join(map(str, given.values()))
            raise SpecError(f"model {model} trains from nothing and takes no public weights; found {found}")
        return
    for folder in given.values():
        if not folder.is_dir():
            raise SpecError(f"public weights of model {model} must be folders; found no folder {folder}")
    for name, folder in weights.links():
        known = out / name
        if known.exists() and not known.samefile(folder):
            raise SpecError(f"{out} must go on from {known.resolve()}; found {folder}: choose another --out")
    if weights.wan is None and not (out / WAN).is_dir():
        raise SpecError(f"model {model} needs the folder of its public Wan checkpoint (--weights); found none")
    if weights.wan is not None:
        _copy_tokenizer(sub_folder(weights.wan, "tokenizer"), out / FILE)
    if weights.backbone is not None:
        _copy_tokenizer(weights.backbone, out / LANGUAGE_FILE)
    for name, folder in weights.links():
        _link(out / name, folder)


def hand_on(teacher: Path, out: Path) -> None:
    """The same checkpoints and tokenizers for the student in `out`; nothing where the teacher has none."""
    for name in (WAN, BACKBONE, READER):
        if (teacher / name).is_dir():
            _link(out / name, teacher / name)
    for name in (FILE, LANGUAGE_FILE):
        if (teacher / name).is_file():
            shutil.copyfile(teacher / name, out / name)


def language_folders(out: Path) -> tuple[Path, Path]:
    """The backbone's and the reader's checkpoint of the training in `out`.

    Raises:
        SpecError: it was not told of them.
    """
    for name, option in ((BACKBONE, "--backbone"), (READER, "--reader")):
        if not (out / name).is_dir():
            raise SpecError(f"this language side needs the folder of a public Qwen checkpoint ({option}); found none")
    return out / BACKBONE, out / READER


def _link(place: Path, folder: Path) -> None:
    """A link to a folder; one to what is gone is replaced."""
    if not place.exists():
        place.unlink(missing_ok=True)
        place.symlink_to(folder.resolve(), target_is_directory=True)


def _copy_tokenizer(folder: Path, to: Path) -> None:
    if not (folder / FILE).is_file():
        raise SpecError(f"a public checkpoint must hold its tokenizer, {folder / FILE}; found none")
    if not to.is_file():
        shutil.copyfile(folder / FILE, to)
