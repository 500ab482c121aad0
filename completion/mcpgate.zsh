#compdef mcpgate
# SPDX-License-Identifier: Apache-2.0
# zsh: source <(mcpgate completion zsh), or as the file _mcpgate in a folder of fpath.
# mcpgate itself says what fits; this only hands the answer on.
_mcpgate()
{
    local value meaning files=
    local -a found
    while IFS=$'\t' read -r value meaning; do
        if [[ $value == :files ]]; then
            files=1
        else
            found+=("${value//:/\\:}:$meaning")
        fi
    done < <("$words[1]" completion words -- "${(@Q)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
    (( $#found )) && _describe -t values mcpgate found
    if [[ -n $files ]]; then
        compset -P '*='
        _files
    fi
}
if [[ $funcstack[1] == _mcpgate ]]; then
    _mcpgate "$@"
else
    compdef _mcpgate mcpgate
fi
