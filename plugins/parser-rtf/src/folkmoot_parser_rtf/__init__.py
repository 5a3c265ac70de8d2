"""Rich Text Format for Folkmoot."""

FOLKMOOT_SDK_API = 1
