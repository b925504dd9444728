"""Exact HDBSCAN of unit vectors: arrays and row numbers in, arrays out.

The slow door (`find_neighbours`, `build_hierarchy`) depends on the vectors and `min_samples` only; the fast one
(`extract`) takes epsilon, minimum size and method, and answers in milliseconds.
"""

from facecluster.clustering.cover import cover, covers
from facecluster.clustering.epsilon import epsilon_changes
from facecluster.clustering.extract import (
    NOISE,
    SINGLE_CLUSTER_EPSILON,
    Clustering,
    ExtractionParams,
    Method,
    extract,
)
from facecluster.clustering.gauges import (
    churn,
    contradicted_not_persons,
    contradicted_pins,
    impossible_pair_rows,
    impossible_pairs,
    noise_share,
)
from facecluster.clustering.hierarchy import Hierarchy, build_hierarchy
from facecluster.clustering.mst import Certificate, SpanningTree
from facecluster.clustering.neighbours import KnnGraph, Neighbours, find_neighbours
from facecluster.clustering.refine import CHANGES, Change, Refinement, refine
from facecluster.clustering.rowfacts import RowFacts
from facecluster.clustering.stability import Sweep, moved, sweep
from facecluster.clustering.tiles import THREADS, Progress, ThreadRunner, TileRunner
from facecluster.clustering.tree import SingleLinkage

__all__ = [
    "CHANGES",
    "NOISE",
    "SINGLE_CLUSTER_EPSILON",
    "THREADS",
    "Certificate",
    "Change",
    "Clustering",
    "ExtractionParams",
    "Hierarchy",
    "KnnGraph",
    "Method",
    "Neighbours",
    "Progress",
    "Refinement",
    "RowFacts",
    "SingleLinkage",
    "SpanningTree",
    "Sweep",
    "ThreadRunner",
    "TileRunner",
    "build_hierarchy",
    "churn",
    "contradicted_not_persons",
    "contradicted_pins",
    "cover",
    "covers",
    "epsilon_changes",
    "extract",
    "find_neighbours",
    "impossible_pair_rows",
    "impossible_pairs",
    "moved",
    "noise_share",
    "refine",
    "sweep",
]
