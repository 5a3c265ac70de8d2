"""OpenDocument text, presentations and spreadsheets for Folkmoot."""

FOLKMOOT_SDK_API = 1
