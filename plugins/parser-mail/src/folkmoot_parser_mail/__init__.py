"""Mail with its attachments for Folkmoot."""

FOLKMOOT_SDK_API = 1
