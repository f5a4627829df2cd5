"""Figures, tables and the report of a fit.

Containers go in; matplotlib Figures that no pyplot window knows of, DataFrames and HTML come out.
"""

from odynn.plotting.appearance import png, save, show_or_save, style
from odynn.plotting.bounds import parameters
from odynn.plotting.fits import history, waterfall
from odynn.plotting.inspection import inspection
from odynn.plotting.intervals import uncertainty
from odynn.plotting.neurons import neuron_details, neuron_output
from odynn.plotting.page import report
from odynn.plotting.panels import details
from odynn.plotting.rasters import raster
from odynn.plotting.spectra import information
from odynn.plotting.summary import Summary, summarise
from odynn.plotting.sweeps import traces
from odynn.plotting.tables import parameter_table, score_table, uncertainty_table

__all__ = [
    "Summary",
    "details",
    "history",
    "information",
    "inspection",
    "neuron_details",
    "neuron_output",
    "parameter_table",
    "parameters",
    "png",
    "raster",
    "report",
    "save",
    "score_table",
    "show_or_save",
    "style",
    "summarise",
    "traces",
    "uncertainty",
    "uncertainty_table",
    "waterfall",
]
