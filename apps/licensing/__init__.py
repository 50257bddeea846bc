"""What installations at customers' sites may do, in a token that they check by themselves.

Owns: the keys that sign, licences and the instances they are for, and the list of those revoked.
Never: a grant of its own. What a licence says is what the access decision says at that instant.
"""
