"""The work tree, third_party/patched/NAME-VERSION: the patched source for people to edit, and the way back."""

from __future__ import annotations

from patches.series import export_patch, read_series, rebase_series, snapshots
from third_party.builds import NATIVE, native_files, patch_folder
from third_party.console import ROOT, BuildError, say
from third_party.sources import THIRD_PARTY, Pin, obtain_source
from third_party.trees import Tree, new_folder, read_folder, tree_hash, write_atomically, write_together, write_tree

WORK = THIRD_PARTY / "patched"
EDITOR_LEFTOVERS = ("~", ".orig", ".rej", ".swp")


class WorkTree:
    def __init__(self, pin: Pin) -> None:
        self.folder = WORK / pin.label
        self.stamp = WORK / f"{pin.label}.sha256"  # the content as build.py last wrote or refreshed it
        self.products = pin.recipe.products

    def read(self) -> Tree:
        return read_folder(self.folder, self.products, EDITOR_LEFTOVERS)

    def written(self) -> str:
        return self.stamp.read_text() if self.stamp.exists() else ""

    def edited(self) -> bool:
        return self.folder.exists() and tree_hash(self.read()) != self.written()

    def refusal(self) -> BuildError:
        return BuildError(
            f"{self.folder}: holds edits that are not in the series; keep them with build.py refresh, or "
            "remove the folder yourself"
        )

    def write(self, tree: Tree) -> None:
        with new_folder(self.folder) as folder:
            write_tree(tree, folder)
        write_atomically(self.stamp, tree_hash(tree).encode())


def patch(pin: Pin, source: str | None) -> None:
    work = WorkTree(pin)
    trees, notes = snapshots(obtain_source(pin, source), read_series(patch_folder(pin)))
    for note in notes:
        say(f"{pin.title}: {note}")
    if work.edited() and work.read() != trees[-1]:
        raise work.refusal()
    if tree_hash(trees[-1]) != work.written() or not work.folder.exists():
        work.write(trees[-1])
    say(
        f"{pin.title}: patched source in {work.folder.relative_to(ROOT)}; edit it, then build.py refresh "
        f"{pin.recipe.name}"
    )


def refresh(pin: Pin, target: str | None) -> None:
    work, series = WorkTree(pin), read_series(patch_folder(pin))
    names = [patch.name for patch in series]
    if not work.folder.exists():
        raise BuildError(f"{work.folder}: not there; make it with build.py patch {pin.recipe.name} and edit it")
    if target and target not in names:
        raise BuildError(f"--patch {target}: not in {patch_folder(pin) / 'series'} ({', '.join(names)})")
    if not series:
        raise BuildError(f"{patch_folder(pin) / 'series'}: lists no patch; list one that holds a header")
    trees, _ = snapshots(obtain_source(pin), series)
    edited = work.read()
    for name in sorted(edited):
        if b"\0" in edited[name] and edited[name] != trees[-1].get(name):
            raise BuildError(
                f"{work.folder / name}: holds NUL bytes, as compiled files do, and patches are text; remove it"
            )
    if tree_hash(trees[-1]) != work.written():
        safe = edited == trees[-1] or not work.edited()  # patch would lose no edit
        remedy = (
            f"run build.py patch {pin.recipe.name}, then edit and refresh"
            if safe
            else f"go back to that series, or remove the folder and run build.py patch {pin.recipe.name}"
        )
        raise BuildError(f"{work.folder}: was made from another series than the one in {patch_folder(pin)}; {remedy}")
    for name in native_files():
        if f"{pin.recipe.native}/{name}" in edited:
            raise BuildError(
                f"{work.folder / pin.recipe.native / name}: no part of the patches, the build copies "
                f"{NATIVE / name} in; edit that one and remove this"
            )
    after = rebase_series(trees, edited, names.index(target) if target else len(series) - 1, series)
    texts = [export_patch(patch.header, old, new) for patch, old, new in zip(series, after, after[1:])]
    for patch, text in zip(series, texts):
        if text == patch.header and patch.files:
            raise BuildError(f"{patch.name}: would be left without a change; drop it from the series")
    changed = [(patch, text) for patch, text in zip(series, texts) if text != patch.text]
    write_together(
        {patch_folder(pin) / patch.name: text for patch, text in changed} | {work.stamp: tree_hash(edited).encode()}
    )
    for patch, _ in changed:
        say(f"{pin.title}: {patch.name} written")
    say(f"{pin.title}: {len(changed)} of {len(series)} patches changed")
