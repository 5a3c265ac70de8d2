"""Electronic books for Folkmoot."""

FOLKMOOT_SDK_API = 1
