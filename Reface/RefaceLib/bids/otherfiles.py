"""Which files of a data set are taken over beside its volumes: explicit lists of names, as BIDS has them.

Anything else may hold a face (a scan in another format, a photograph, a copy), so it is left out.
"""

from __future__ import annotations

from pathlib import PurePosixPath

ANYWHERE = (".json", ".tsv", ".tsv.gz", ".bval", ".bvec")
_EEG = (".edf", ".bdf", ".vhdr", ".vmrk", ".eeg", ".set", ".fdt")
_MEG = (".fif", ".ave", ".chn", ".con", ".dat", ".kdf", ".mhd", ".mrk", ".raw", ".sqd", ".trg")
_TISSUE = "TEM SEM uCT BF DF PC DIC FLUO CONF PLI CARS 2PE MPE SR NLO OCT SPIM XPCT"
_SUFFIXES: dict[str, dict[str, tuple[str, ...]]] = {
    "eeg": {"eeg": _EEG},
    "emg": {"emg": (".edf", ".bdf")},
    "ieeg": {"ieeg": (*_EEG, ".nwb")},
    "meg": {"meg": _MEG, "markers": (".mrk", ".sqd"), "headshape": (".pos", ".elp", ".hsp")},
    "micr": dict.fromkeys(_TISSUE.split(), (".ome.tif", ".ome.btf", ".tif", ".png")),
    "nirs": {"nirs": (".snirf",)},
}  # by folder: what files of data end with, by their suffix
_FOLDERS = (*_SUFFIXES, *"anat beh ct dwi fmap func motion mrs perf pet swi".split())
_RECORDINGS = {"meg": ("_meg.ds", "_meg"), "ieeg": ("_ieeg.mefd",), "micr": (".ome.zarr",)}  # folders that are one file
_IMAGES = (
    ".nii .gz .img .hdr .mgz .mgh .mnc .mif .mih .nrrd .nhdr .mha .dcm .ima .mri .zip .tar .tgz .bz2 .xz .zst .7z .bak "
    ".jpg .jpeg .png .tif .tiff .bmp .gif .mp4 .avi .mov .stl .obj .ply .vtk .vtp .off .gii .pdf .ps"
)
_IN_NO_RECORDING = tuple(_IMAGES.split())

_TOP_NAMES = ("README", "CHANGES", "LICENSE", "CITATION.cff")
_TOP_TEXTS = ("README", "CHANGES", "LICENSE")
_TEXTS = (".md", ".rst", ".txt")
_CODE_NAMES = (*_TOP_TEXTS, "Dockerfile", "Makefile", "Snakefile")
_CODE = (
    ".py .m .sh .bash .r .jl .c .cc .cpp .h .hpp .java .js .ts .pl .sql .toml .yaml .yml .cfg .ini .json .tsv .csv "
    ".bib .cff .smk .nf .def .md .rst .txt .lua .do .sps .fsf .sbatch .slurm .psyexp"
)
_STIMULI = (
    ".png .jpg .jpeg .bmp .gif .tif .tiff .svg .wav .mp3 .flac .ogg .mp4 .avi .mov .mpg .mpeg .mkv .webm .wmv .txt "
    ".csv .tsv .tsv.gz .json .md"
)
CARRIED = {
    "phenotype": (".tsv", ".json"),
    "stimuli": tuple(_STIMULI.split()),
    "code": tuple(_CODE.split()),
}  # folders at the top, and what their files end with
_TABLES = (
    "participants samples scans sessions events channels electrodes optodes beh physio physioevents stim blood markers "
    "aslcontext"
).split()  # suffixes of tables, whose JSON files describe their columns

FACE = "It shows a face, so it was left out."
UNKNOWN = "It is none of the files of data that are taken over, and may show a face, so it was left out."
FOLDER = "BIDS has no such folder, so all in it but volumes was left out."


def left_out(path: str) -> tuple[str, str] | None:
    """What is left out with the file at ``path`` of a person (posix), and the sentence why; None where it goes along.

    What is left out is the file itself or, ending with a slash, the folder that holds it.
    """
    parts = PurePosixPath(path).parts
    depth = 2 if len(parts) > 2 and parts[1].startswith("ses-") else 1
    folder, inside, name = (parts[depth] if len(parts) > depth + 1 else ""), parts[depth + 1 : -1], parts[-1]
    stem, suffix = _stem_and_suffix(name)
    if suffix == "photo":
        return path, FACE
    if folder and folder not in _FOLDERS:
        return "/".join(parts[: depth + 1]) + "/", FOLDER
    if inside:
        if not inside[0].startswith("sub-") or not inside[0].endswith(_RECORDINGS.get(folder, ())):
            return "/".join(parts[: depth + 2]) + "/", FOLDER
        return (path, UNKNOWN) if name.lower().endswith(_IN_NO_RECORDING) else None
    endings = (*ANYWHERE, *_SUFFIXES.get(folder, {}).get(suffix, ()))
    return None if name[len(stem) :] in endings else (path, UNKNOWN)


def left_out_of_top(path: str) -> str:
    """Why a file outside the persons' folders is left out; "" where it is taken over."""
    first, slash, _ = path.partition("/")
    name = PurePosixPath(path).name
    stem, dot, ending = name.partition(".")
    if slash:
        known = name in _CODE_NAMES if first == "code" else False
        known = known or name.lower().endswith(CARRIED[first])
    else:
        known = name in _TOP_NAMES or (stem in _TOP_TEXTS and dot + ending in _TEXTS) or dot + ending in ANYWHERE
    return "" if known else UNKNOWN


def describes_columns(path: str) -> bool:
    """Whether the JSON file at ``path`` describes a table."""
    return path.startswith("phenotype/") or _stem_and_suffix(PurePosixPath(path).name)[1] in _TABLES


def _stem_and_suffix(name: str) -> tuple[str, str]:
    stem = name.partition(".")[0]
    return stem, stem.rpartition("_")[2]
