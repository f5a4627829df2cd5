"""Figures, tables and the report: containers in, matplotlib Figures, DataFrames or HTML out."""

from odynn.plotting.panels import details as details
from odynn.plotting.panels import neuron_details as neuron_details
from odynn.plotting.panels import neuron_output as neuron_output
from odynn.plotting.fits import history as history
from odynn.plotting.fits import waterfall as waterfall
from odynn.plotting.bounds import parameters as parameters
from odynn.plotting.appearance import png as png
from odynn.plotting.appearance import save as save
from odynn.plotting.appearance import show_or_save as show_or_save
from odynn.plotting.appearance import style as style
from odynn.plotting.sweeps import traces as traces
