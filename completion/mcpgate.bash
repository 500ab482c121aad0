# SPDX-License-Identifier: Apache-2.0
# bash: source <(mcpgate completion bash), or as a file in share/bash-completion/completions.
# mcpgate itself says what fits; this only takes the line apart and hands the answer on.
_mcpgate()
{
    local line=${COMP_LINE:0:COMP_POINT} words=() current breaks= prefix= value meaning files=
    read -ra words <<<"$line" # by blanks: names of models hold colons, which COMP_WORDS is cut at
    [[ $line == *[[:blank:]] ]] && words+=("")
    current=${words[-1]}

    # Readline replaces what is behind the last of these alone.
    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=:
    [[ $COMP_WORDBREAKS == *=* ]] && breaks+==
    [[ -n $breaks ]] && prefix=${current%"${current##*[$breaks]}"}

    COMPREPLY=()
    while IFS=$'\t' read -r value meaning; do
        if [[ $value == :files ]]; then
            files=1
        else
            COMPREPLY+=("${value#"$prefix"}")
        fi
    done < <("$1" completion words -- "${words[@]:1}" 2>/dev/null)
    if [[ -n $files ]]; then
        compopt -o filenames
        mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "${current##*=}")
    fi
}
complete -F _mcpgate mcpgate
