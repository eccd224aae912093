"""How many items each split of each data set is said to have, to be held against what a folder holds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Published:
    """A published number of ``what`` (a name that the outcomes of a source are counted under).

    ``certain`` says that the number was counted in the official annotation files; otherwise it is what a paper,
    a card or arithmetic on those says. ``remark`` is what explains a difference seen before.
    """

    what: str
    number: int
    certain: bool = True
    remark: str = ""


_HCSTVG = "the number is from papers; files in circulation lack some clips"
_GOT = "one record per sequence"
_SUBSET = "Parquet mirrors without a train split hold other rows in val"

PUBLISHED: dict[tuple[str, str], tuple[Published, ...]] = {
    ("vidstg", "train"): (
        Published("declarative", 36_202, False, "published total minus the counted val and test"),
        Published("interrogative", 44_482, False, "published total minus the counted val and test"),
        Published("videos", 5_436, False, "train_files.json lists 5,563; not all have sentences"),
    ),
    ("vidstg", "val"): (
        Published("declarative", 3_996),
        Published("interrogative", 4_960),
        Published("videos", 602, True, "val_files.json lists 618; 16 have no sentence"),
    ),
    ("vidstg", "test"): (
        Published("declarative", 4_610, True, "some papers say 4,609"),
        Published("interrogative", 5_693),
        Published("videos", 732, True, "test_files.json lists 743; 11 have no sentence"),
    ),
    ("hcstvg-v1", "train"): (Published("clips", 4_500, False, _HCSTVG),),
    ("hcstvg-v1", "test"): (Published("clips", 1_160, False, _HCSTVG),),
    ("hcstvg-v2", "train"): (Published("clips", 10_131, False, _HCSTVG),),
    ("hcstvg-v2", "val"): (Published("clips", 2_000, False, _HCSTVG),),
    ("charades-sta", "train"): (Published("sentences", 12_408), Published("videos", 5_338)),
    ("charades-sta", "test"): (Published("sentences", 3_720), Published("videos", 1_334)),
    ("got10k", "train"): (Published("sequences", 9_335, True, _GOT),),
    ("got10k", "val"): (Published("sequences", 180, True, _GOT),),
    ("got10k", "test"): (Published("sequences", 180, True, _GOT),),
    ("refcoco", "train"): (Published("references", 42_404), Published("sentences", 120_624)),
    ("refcoco", "val"): (Published("references", 3_811, True, _SUBSET), Published("sentences", 10_834)),
    ("refcoco", "testA"): (Published("references", 1_975), Published("sentences", 5_657)),
    ("refcoco", "testB"): (Published("references", 1_810), Published("sentences", 5_095)),
    ("refcoco+", "train"): (Published("references", 42_278), Published("sentences", 120_191)),
    ("refcoco+", "val"): (Published("references", 3_805), Published("sentences", 10_758)),
    ("refcoco+", "testA"): (Published("references", 1_975), Published("sentences", 5_726)),
    ("refcoco+", "testB"): (Published("references", 1_798), Published("sentences", 4_889)),
    ("refcocog", "train"): (Published("references", 42_226), Published("sentences", 80_512)),
    ("refcocog", "val"): (Published("references", 2_573, True, _SUBSET), Published("sentences", 4_896)),
    ("refcocog", "test"): (Published("references", 5_023), Published("sentences", 9_602)),
    ("nextqa", "train"): (Published("questions", 34_132, False), Published("videos", 3_870, False)),
    ("nextqa", "val"): (Published("questions", 4_996), Published("videos", 570)),
    ("nextqa", "test"): (Published("questions", 8_564), Published("videos", 1_000)),
    ("clevrer", "train"): (
        Published("questions", 152_572, False),
        Published("predictive", 7_179, False),
        Published("videos", 10_000),
    ),
    ("clevrer", "validation"): (
        Published("questions", 76_364, False),
        Published("predictive", 3_557, False),
        Published("videos", 5_000),
    ),
    ("video-mme", "test"): (
        Published("questions", 2_700, True, "early revisions have 2,541 or 2,544 rows"),
        Published("videos", 900),
    ),
    ("revos", "train"): (Published("videos", 626, False),),
    ("revos", "valid"): (Published("videos", 416, False),),
}
